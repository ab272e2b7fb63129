"""Watches the training loss: it ends a run that cannot recover and warns if the loss stays flat."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from worker.training.failures import Diverged
from worker.training.reporter import Reporter

NONFINITE_STEPS = 3
"""A run does not recover after this many consecutive steps with a NaN or infinite loss."""
FLAT_LOGS = 10
FLAT_SPREAD = 1e-3
"""Relative spread. Batches differ by more than this while a model responds to them."""
_LEARNED = 0.01
"""Below this, a loss is flat because there is nothing left to learn."""


def evaluations(history: Sequence[dict[str, Any]]) -> dict[int, float]:
    """Held-out losses of a Trainer's history by step, in order."""
    return {each["step"]: each["eval_loss"] for each in history if "eval_loss" in each}


def patience_is_lost(history: Sequence[dict[str, Any]], patience: int | None) -> bool:
    """Whether the last `patience` evaluations did not improve on the best before them.

    Computed from the history, which is saved in checkpoints: patience survives a resume.
    """
    losses = list(evaluations(history).values())
    if not patience or not losses:
        return False
    return len(losses) - 1 - losses.index(min(losses)) >= patience


class LossWatch:
    def __init__(self, learning_rate: float, reports: Reporter) -> None:
        self._rate, self._reports = learning_rate, reports
        self._recent: deque[float] = deque(maxlen=FLAT_LOGS)
        self._nonfinite = 0
        self._warned_flat = False

    def log(self, loss: float) -> None:
        """Record a logged loss: the mean over the steps since the log before."""
        if math.isfinite(loss):
            self._recent.append(loss)
            self._warn_if_flat(loss)

    def step(self, loss: float, step: int, has_finite_weights: Callable[[], bool]) -> None:
        """Record the loss of every step. Raises `Diverged` when no later step can be better."""
        if math.isfinite(loss):
            self._nonfinite = 0
            return
        self._nonfinite += 1
        if self._nonfinite == 1:
            message = f"The training loss is {loss} at step {step}."
            self._warn("loss_not_finite", message, Diverged.hint)
        if self._nonfinite >= NONFINITE_STEPS:
            message = f"The training loss was NaN or infinite {NONFINITE_STEPS} times in a row."
            raise self._diverged(message, f"train_loss: {loss} at step {step}")
        self.check_weights(step, has_finite_weights, f"; train_loss: {loss}")

    def check_weights(
        self, step: int, has_finite_weights: Callable[[], bool], more: str = ""
    ) -> None:
        """Raise `Diverged` if a weight is NaN or infinite: every later loss would be, too."""
        if not has_finite_weights():
            message = "The adapter's weights became NaN or infinite."
            raise self._diverged(message, f"weights that are not finite at step {step}{more}")

    def _diverged(self, message: str, evidence: str) -> Diverged:
        patch = {"training": {"learning_rate": self._rate / 10}}
        return Diverged(message, evidence=evidence, suggested_patch=patch)

    def _warn_if_flat(self, loss: float) -> None:
        if self._warned_flat or len(self._recent) < FLAT_LOGS or loss < _LEARNED:
            return
        if max(self._recent) - min(self._recent) <= FLAT_SPREAD * abs(loss):
            self._warned_flat = True
            message = f"The training loss has stayed at {loss:.4g} for {FLAT_LOGS} logs in a row."
            hint = "The model is not learning: the learning rate is far too high or far too low."
            self._warn("loss_flat", message, hint)

    def _warn(self, code: str, message: str, hint: str) -> None:
        self._reports.warn(code, message, hint=hint, pointer="/training/learning_rate")
