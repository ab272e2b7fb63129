"""Finds the checkpoints of earlier epochs that a new attempt of the job may resume from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import update

from app.core.db.models import Attempt
from app.core.db.session import Sessions, transaction
from app.core.events.log import Entry
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease
from worker.supervisor.patience import patiently
from worker.supervisor.report_rows import add_found_checkpoint

COMMIT = "COMMIT.json"


@dataclass(frozen=True)
class Found:
    """A committed checkpoint on this disk; its hashes have not been verified."""

    run_epoch: int
    step: int
    train_epoch: float
    num_bytes: int


def folders(job_dir: Path, epoch: int) -> list[Path]:
    """`checkpoints` folders of earlier epochs that hold a committed one, newest epoch first.

    The trainer verifies the hashes, rejects corrupt checkpoints and uses the newest valid one.
    """
    earlier = sorted(
        (int(path.name) for path in job_dir.glob("[0-9]*") if path.name.isdigit()), reverse=True
    )
    found = [job_dir / str(number) / "checkpoints" for number in earlier if number < epoch]
    return [folder for folder in found if any(folder.glob(f"checkpoint-*/{COMMIT}"))]


def committed(folder: Path) -> list[Found]:
    """Committed checkpoints of one epoch's `checkpoints` folder, sorted by step."""
    run_epoch = int(folder.parent.name)
    found = []
    for path in folder.glob(f"checkpoint-*[0-9]/{COMMIT}"):
        step = int(path.parent.name.rpartition("-")[2])
        num_bytes = sum(each.stat().st_size for each in path.parent.rglob("*") if each.is_file())
        found.append(Found(run_epoch, step, _train_epoch(path), num_bytes))
    return sorted(found, key=lambda each: each.step)


def note(sessions: Sessions, lease: Lease, run_dir: Path, *, seconds: float) -> None:
    """Record the step the attempt resumes from, if any; retry through an outage of up to `seconds`.

    Checkpoints whose report was lost with an earlier worker are reported too. Raises LeaseLost.
    """
    earlier = folders(run_dir.parent, lease.epoch)
    found = [each for folder in earlier for each in committed(folder)]
    if found:
        patiently(lambda: _write(sessions, lease, found), seconds=seconds)


def _write(sessions: Sessions, lease: Lease, found: list[Found]) -> None:
    step = max(each.step for each in found)
    row = (Attempt.job_id == lease.job_id, Attempt.epoch == lease.epoch)
    entry = Entry("log", f"resuming from step {step}", data={"step": step})
    with transaction(sessions) as session:
        lifecycle.record(session, lease)
        added = [each for each in found if add_found_checkpoint(session, lease, **asdict(each))]
        events = [Entry("checkpoint", "found on disk", data={"step": each.step}) for each in added]
        lifecycle.record(session, lease, *events, entry)
        session.execute(update(Attempt).where(*row).values(resumed_from_step=step))


def _train_epoch(commit: Path) -> float:
    try:
        return float(json.loads(commit.read_text()).get("epoch", 0))
    except (OSError, ValueError, TypeError, AttributeError):
        return 0.0
