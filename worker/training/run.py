"""One run, top to bottom: rows and a base model in, a verified adapter out."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from app.core.datasets.layout.splits import Splits
from app.core.datasets.tokens.encoding import Example
from app.core.estimates.precision import precision
from app.core.jobs.protocol import Plan
from worker.training import export, head, heap, prepare, verify
from worker.training.best import BestAdapter, Shipped, choose
from worker.training.callback import RunCallback
from worker.training.checkpoints import Checkpoint
from worker.training.data import load_splits
from worker.training.failures import DeadlineExceeded
from worker.training.model import choose_device, load_base, load_tokenizer
from worker.training.probe import run_longest_batch
from worker.training.reporter import Reporter
from worker.training.samples import report_samples
from worker.training.stop import StopRequest
from worker.training.trainer import Tally


@dataclass(frozen=True)
class Run:
    """What every part of a run needs."""

    plan: Plan
    run_dir: Path
    tokenizer: Any
    device: str
    reports: Reporter
    stop: StopRequest

    @property
    def staging(self) -> Path:
        return self.run_dir / "artifact.partial"

    @property
    def precision(self) -> str:
        return precision(self.plan.spec, self.device)


class Trained(NamedTuple):
    """What remains of a trained model after its memory is freed; its adapter is in `staging`."""

    shipped: Shipped
    trained_tokens: int
    shown: Sequence[Example]
    """Rows on which the artifact is verified."""
    expected: list[Any]
    """Their logits."""
    losses: list[float]
    """Their losses, computed as every reported loss."""


def run(plan: Plan, run_dir: Path, reports: Reporter, stop: StopRequest) -> None:
    """Train the adapter that a plan describes and leave it, verified, in RUN_DIR/artifact."""
    reports.phase("preparing")
    tokenizer = load_tokenizer(plan)
    export.check_tokenizer(tokenizer, run_dir)
    checkpoint = prepare.find_checkpoint(plan, run_dir, reports)
    if checkpoint:
        reports.position = {"step": checkpoint.step}
    elif plan.publish_only:
        raise DeadlineExceeded(
            "The job exceeded its time limit.", evidence="no checkpoint of it can be used"
        )
    splits = load_splits(plan, tokenizer, reports.still_working)
    device = choose_device(plan.device)
    if not plan.publish_only:
        prepare.warn(plan, splits, tokenizer, device=device, run_dir=run_dir, reports=reports)
    reports.still_working()
    prepare.warn_of_tokenizer(plan, tokenizer, reports)
    prepare.warn_of_attention(plan, reports)
    stop.check()

    this = Run(plan, run_dir, tokenizer, device, reports, stop)
    trained = train(this, splits, checkpoint)
    # What `train` held is freed first: two base models may not fit where one did.
    gc.collect()
    heap.give_back()
    reports.still_working()
    verify_staged(this, trained)
    stop.check()
    publish(this, trained)


def train(this: Run, splits: Splits[Example], checkpoint: Checkpoint | None) -> Trained:
    """Load the base, train the adapter and write it to `staging`. Keeps no part of the model."""
    plan, reports = this.plan, this.reports
    base = load_base(plan, this.device)
    reports.still_working()
    laid = prepare.sequences(plan, splits, base, this.tokenizer, reports)
    tally = Tally(**checkpoint.commit["tally"]) if checkpoint else Tally()
    targets = prepare.choose_targets(plan, base, reports)
    trainer = prepare.build_trainer(
        plan, this.run_dir, this.device, base, this.tokenizer, laid, tally, targets
    )
    resumed = checkpoint.path if checkpoint else None
    best = BestAdapter(trainer.model, resumed) if plan.spec.ships_best else None
    callback = RunCallback(plan, this.run_dir, reports, this.stop, trainer, best)
    trainer.add_callback(callback)
    reports.still_working()
    head.choose(trainer, splits.train, this.precision, reports)
    if not plan.publish_only:
        run_longest_batch(trainer, laid.train)
    this.stop.check()

    reports.phase("training")
    patience = plan.spec.training.early_stopping_patience
    trainer.train_from(resumed, patience, is_over=plan.publish_only)
    callback.raise_if_stopped()
    this.stop.is_finishing = True
    shipped = choose(plan.spec, best, trainer.state, is_past_deadline=plan.publish_only)

    reports.phase("finalizing")
    shown = splits.held_out or splits.train
    losses = verify.reported(trainer, shown)
    model, state = trainer.bare_model(), trainer.state
    export.stage(this.staging, plan, model, this.tokenizer, state, tally, this.device, shipped)
    expected = verify.reference(model, shown)
    return Trained(shipped, tally.trained_tokens, shown, expected, losses)


def verify_staged(this: Run, trained: Trained) -> None:
    """Reload the adapter onto a fresh base and compare it with the one that was trained."""
    reloaded = verify.reloaded(this.plan, this.device, this.staging)
    this.reports.still_working()
    tolerance = verify.TOLERANCE[this.precision]
    effect = verify.prove(reloaded, trained.expected, trained.shown, tolerance)
    verify.check_effect(effect, reloaded, this.reports)
    verify.prove_reported(trained.expected, trained.shown, trained.losses, tolerance)
    report_samples(
        reloaded, this.tokenizer, this.plan.spec, step=trained.shipped.step, reports=this.reports
    )


def publish(this: Run, trained: Trained) -> None:
    environment, shipped = export.environment(this.device), trained.shipped
    files = export.publish(this.staging, this.run_dir / "artifact", this.plan, environment, shipped)
    artifact: dict[str, Any] = {
        "trained_tokens": trained.trained_tokens,
        "step": shipped.step,
        "chosen": shipped.chosen,
        "stopped_by": shipped.stopped_by,
        "files": files,
        "environment": environment,
    }
    this.reports.send("artifact", "The adapter is saved and verified.", **artifact)
