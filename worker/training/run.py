"""One run, top to bottom: rows and a base model in, a verified adapter out."""

import gc
from pathlib import Path
from typing import Any

from app.core.estimates.precision import precision
from app.core.jobs.protocol import Plan
from worker.training import export, head, heap, prepare, verify
from worker.training.best import BestAdapter, choose
from worker.training.callback import RunCallback
from worker.training.data import load_splits
from worker.training.failures import DeadlineExceeded
from worker.training.model import choose_device, load_base, load_tokenizer
from worker.training.probe import run_longest_batch
from worker.training.reporter import Reporter
from worker.training.samples import report_samples
from worker.training.stop import StopRequest
from worker.training.trainer import Tally


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

    base = load_base(plan, device)
    reports.still_working()
    laid = prepare.sequences(plan, splits, base, tokenizer, reports)
    tally = Tally(**checkpoint.commit["tally"]) if checkpoint else Tally()
    targets = prepare.choose_targets(plan, base, reports)
    trainer = prepare.build_trainer(plan, run_dir, device, base, tokenizer, laid, tally, targets)
    resumed = checkpoint.path if checkpoint else None
    best = BestAdapter(trainer.model, resumed) if plan.spec.ships_best else None
    callback = RunCallback(plan, run_dir, reports, stop, trainer, best)
    trainer.add_callback(callback)
    reports.still_working()
    head.choose(trainer, splits.train, precision(plan.spec, device), reports)
    if not plan.publish_only:
        run_longest_batch(trainer, laid.train)
    stop.check()

    reports.phase("training")
    patience = plan.spec.training.early_stopping_patience
    trainer.train_from(resumed, patience, is_over=plan.publish_only)
    callback.raise_if_stopped()
    stop.is_finishing = True
    shipped = choose(plan.spec, best, trainer.state, is_past_deadline=plan.publish_only)

    reports.phase("finalizing")
    staging = run_dir / "artifact.partial"
    shown = splits.held_out or splits.train
    reported = verify.reported(trainer, shown)
    model, state = trainer.bare_model(), trainer.state
    export.stage(staging, plan, model, tokenizer, state, tally, device, shipped)
    expected = verify.reference(model, shown)
    # Freed first: two base models may not fit where one did.
    del model, base, trainer, callback, best
    gc.collect()
    heap.give_back()

    reports.still_working()
    reloaded = verify.reloaded(plan, device, staging)
    reports.still_working()
    tolerance = verify.TOLERANCE[precision(plan.spec, device)]
    effect = verify.prove(reloaded, expected, shown, tolerance)
    verify.check_effect(effect, reloaded, reports)
    verify.prove_reported(expected, shown, reported, tolerance)
    report_samples(reloaded, tokenizer, plan.spec, step=shipped.step, reports=reports)
    stop.check()
    environment = export.environment(device)
    files = export.publish(staging, run_dir / "artifact", plan, environment, shipped)
    artifact: dict[str, Any] = {
        "trained_tokens": tally.trained_tokens,
        "step": shipped.step,
        "chosen": shipped.chosen,
        "stopped_by": shipped.stopped_by,
        "files": files,
        "environment": environment,
    }
    reports.send("artifact", "The adapter is saved and verified.", **artifact)
