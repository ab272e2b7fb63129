"""The run's TrainerCallback: schedules saving and evaluation, sends reports, obeys a stop."""

import json
import math
import time
from collections import deque
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from app.core.jobs.protocol import Plan, StopReason
from worker.training import checkpoints
from worker.training.best import BestAdapter, lowest
from worker.training.failures import Stopped
from worker.training.losses import LossWatch, evaluations, patience_is_lost
from worker.training.plan import fingerprint
from worker.training.reporter import Reporter
from worker.training.stop import StopRequest
from worker.training.trainer import LoraTrainer

_WINDOW = 50
"""Steps over which speed is averaged."""
METRIC_NAMES = {
    "loss": "train_loss",
    "mean_token_accuracy": "train_mean_token_accuracy",
    "eval_loss": "valid_loss",
    "eval_mean_token_accuracy": "valid_mean_token_accuracy",
}
"""Our metric names by the Trainer's."""
_LOGGED = {"train_loss", "train_mean_token_accuracy", "learning_rate", "grad_norm", "entropy"}


class RunCallback(TrainerCallback):
    def __init__(
        self,
        plan: Plan,
        run_dir: Path,
        reports: Reporter,
        stop: StopRequest,
        trainer: LoraTrainer,
        best: BestAdapter | None = None,
    ) -> None:
        self._plan, self._reports, self._stop, self._best = plan, reports, stop, best
        self._trainer, self._tally = trainer, trainer.tally
        self._metrics_file = run_dir / "metrics.jsonl"
        self._fingerprint = fingerprint(plan)
        self._losses = LossWatch(plan.spec.training.learning_rate, reports)
        self._recent: deque[tuple[float, int]] = deque(maxlen=_WINDOW + 1)
        self._earlier_seconds = self._tally.seconds
        self._started = time.monotonic()
        self._steps_per_epoch = 1
        self._stopped: StopReason | None = None

    def raise_if_stopped(self) -> None:
        if self._stopped is not None:
            raise Stopped(self._stopped)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        batches = len(kwargs["train_dataloader"])
        self._steps_per_epoch = math.ceil(batches / args.gradient_accumulation_steps)
        self._started = time.monotonic()
        self._recent.append((self._started, self._tally.tokens_seen))
        self._stop.in_step = True

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._raise_if_cancelled()
        self._reports.still_working()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._raise_if_cancelled()
        self._reports.still_working()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._raise_if_cancelled()
        self._tally.seconds = self._earlier_seconds + time.monotonic() - self._started
        self._recent.append((time.monotonic(), self._tally.tokens_seen))
        loss = self._trainer.take_step_loss()
        self._losses.step(loss, state.global_step, self._trainer.has_finite_weights)
        self._schedule(state, control)
        self._stopped = self._reason_to_stop(state)
        if self._stopped is not None:
            control.should_save = control.should_training_stop = True
        self._progress(state)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs["logs"]
        if "loss" not in logs:
            return
        renamed = {METRIC_NAMES.get(key, key): value for key, value in logs.items()}
        values = {key: float(renamed[key]) for key in _LOGGED if key in renamed}
        values["epoch"] = state.epoch
        values["num_tokens"] = self._tally.tokens_seen
        values["tokens_per_second"] = self._tokens_per_second()
        values |= _device_memory(args)
        # The history is saved in checkpoints and becomes metrics.csv.
        state.log_history[-1].update(values)
        self._write("metrics", state.global_step, values)
        self._losses.log(values["train_loss"])

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        values = {METRIC_NAMES[key]: value for key, value in kwargs["metrics"].items()}
        self._write("eval", state.global_step, values)
        self._reports.phase("training")
        found = lowest(state.log_history)
        if self._best and found and found[0] == state.global_step:
            self._best.take(state.global_step)
        patience = self._plan.spec.training.early_stopping_patience
        if patience_is_lost(state.log_history, patience):
            control.should_training_stop = True
            control.should_save |= self._plan.spec.training.save_strategy != "no"

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        # Raised before the commit: a folder without a COMMIT.json is no checkpoint.
        self._losses.check_weights(step, self._trainer.has_finite_weights)
        path = Path(args.output_dir) / f"checkpoint-{step}"
        if self._best:
            self._best.save(path)
        more = {"job_id": self._plan.job_id, "tally": vars(self._tally)}
        size = checkpoints.commit(
            path, step=step, epoch=state.epoch, fingerprint=self._fingerprint, **more
        )
        losses = evaluations(state.log_history)
        metrics = {"valid_loss": losses[step]} if step in losses else {}
        found = lowest(state.log_history)
        best = found is not None and found[0] == step
        data = {"step": step, "epoch": state.epoch, "bytes": size, "metrics": metrics}
        message = f"Checkpoint at step {step}."
        self._reports.send("checkpoint", message, **data, best=best, path=str(path))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Nothing that is not finite is saved, verified or shown.
        self._losses.check_weights(state.global_step, self._trainer.has_finite_weights)
        # In this order: a signal between the two must not discard a finished training run.
        self._stop.is_finishing = self._stopped is None
        self._stop.in_step = False
        self._progress(state, last=True)

    def _schedule(self, state: Any, control: Any) -> None:
        """Schedule logging, evaluation and saving at the end of a step.

        Evaluation precedes saving, so that a resumed run finds it either done or still to do.
        """
        training, step = self._plan.spec.training, state.global_step
        last = step >= state.max_steps
        epoch_ends = step % self._steps_per_epoch == 0 or last
        control.should_log = control.should_log or last
        if self._plan.spec.validation is not None or self._plan.validation_rows is not None:
            every = training.eval_steps
            control.should_evaluate = last or (step % every == 0 if every else epoch_ends)
            if control.should_evaluate:
                self._reports.phase("evaluating")
        if training.save_strategy == "epoch":
            control.should_save = epoch_ends
        elif training.save_strategy == "steps":
            control.should_save = last or step % (training.save_steps or 1) == 0

    def _raise_if_cancelled(self) -> None:
        if self._stop.reason() is StopReason.CANCEL:
            raise Stopped(StopReason.CANCEL)

    def _reason_to_stop(self, state: Any) -> StopReason | None:
        if state.global_step >= state.max_steps:
            return None  # done: finishing is the quickest way to stop
        limit = self._plan.spec.limits.max_seconds
        if (reason := self._stop.reason()) is not None:
            return reason
        return StopReason.DEADLINE if limit and self._tally.seconds >= limit else None

    def _progress(self, state: Any, *, last: bool = False) -> None:
        if not self._recent:
            return
        steps = len(self._recent) - 1
        left = state.max_steps - state.global_step
        self._reports.progress(
            last=last,
            step=state.global_step,
            max_steps=state.max_steps,
            epoch=state.epoch,
            fraction=state.global_step / max(state.max_steps, 1),
            tokens_seen=self._tally.tokens_seen,
            tokens_per_second=self._tokens_per_second(),
            eta_seconds=left * self._window_seconds() / steps if steps else None,
        )

    def _window_seconds(self) -> float:
        return self._recent[-1][0] - self._recent[0][0]

    def _tokens_per_second(self) -> float:
        seconds = self._window_seconds()
        return (self._recent[-1][1] - self._recent[0][1]) / seconds if seconds > 0 else 0.0

    def _write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        finite = {key: value for key, value in values.items() if math.isfinite(value)}
        self._reports.send(kind, step=step, values=finite)  # type: ignore[arg-type]
        with self._metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "values": finite}) + "\n")
        # The trainer log shows the same names and figures as the API.
        names = sorted(values, key=lambda name: (not name.endswith("_loss"), name))
        shown = "  ".join(f"{name} {values[name]:.6g}" for name in names)
        print(f"step {step}  {shown}", flush=True)


def _device_memory(args: Any) -> dict[str, float]:
    if args.device.type != "cuda":
        return {}
    import torch

    return {"device_memory_peak_bytes": float(torch.cuda.max_memory_allocated())}
