"""Writes the rows that a trainer's reports become: metrics and checkpoints, by step.

Every write is idempotent.
"""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session

from app.core.db.models import Checkpoint, Metric
from app.core.jobs.lifecycle import Lease
from worker.supervisor.report_reader import CheckpointData


def upsert_metrics(
    session: Session, lease: Lease, metrics: Mapping[int, Mapping[str, float | None]]
) -> None:
    if not metrics:
        return
    rows = [
        {"job_id": lease.job_id, "step": step, "values": dict(values)}
        for step, values in metrics.items()
    ]
    insertion = insert(Metric)
    both = Metric.values.op("||", return_type=JSONB())(insertion.excluded["values"])
    session.execute(
        insertion.on_conflict_do_update(index_elements=["job_id", "step"], set_={"values": both}),
        rows,
    )


def upsert_checkpoint(session: Session, lease: Lease, checkpoint: CheckpointData) -> None:
    values = {
        "run_epoch": lease.epoch,
        "train_epoch": checkpoint.epoch,
        "num_bytes": checkpoint.bytes,
        "metrics": checkpoint.metrics,
        "best": checkpoint.best,
        "kept": True,
    }
    insertion = insert(Checkpoint).values(job_id=lease.job_id, step=checkpoint.step, **values)
    session.execute(insertion.on_conflict_do_update(index_elements=["job_id", "step"], set_=values))


def add_found_checkpoint(
    session: Session, lease: Lease, *, step: int, run_epoch: int, train_epoch: float, num_bytes: int
) -> bool:
    """Add a checkpoint found on disk that was never reported. False if it is already known."""
    values = {
        "run_epoch": run_epoch,
        "train_epoch": train_epoch,
        "num_bytes": num_bytes,
        "metrics": {},
        "best": False,
        "kept": True,
    }
    insertion = insert(Checkpoint).values(job_id=lease.job_id, step=step, **values)
    added = insertion.on_conflict_do_nothing().returning(Checkpoint.step)
    return session.scalar(added) is not None


def mark_best(session: Session, lease: Lease) -> None:
    """Mark the one checkpoint with the lowest validation loss, the earliest of equals."""
    query = select(Checkpoint).where(Checkpoint.job_id == lease.job_id).order_by(Checkpoint.step)
    rows = list(session.scalars(query.execution_options(populate_existing=True)))
    losses = {row.step: row.metrics.get("valid_loss") for row in rows}
    known = {step: loss for step, loss in losses.items() if loss is not None}
    best = min(known, key=lambda step: known[step], default=None)
    for row in rows:
        row.best = row.step == best
    session.flush()


def mark_kept(session: Session, lease: Lease, folder: Path) -> None:
    """Mark checkpoints of this run that the trainer has deleted (`save_total_limit`)."""
    steps = [int(path.name.rpartition("-")[2]) for path in folder.glob("checkpoint-*[0-9]")]
    own = (Checkpoint.job_id == lease.job_id, Checkpoint.run_epoch == lease.epoch)
    gone = update(Checkpoint).where(*own, Checkpoint.kept, Checkpoint.step.not_in(steps))
    session.execute(gone.values(kept=False))
