"""Watches the training loss: it ends a run if it stays non-finite and warns if it stays flat."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from worker.training.failures import Diverged
from worker.training.reporter import Reporter

NONFINITE_LOGS = 3
"""A run does not recover after this many consecutive logs with a NaN or infinite loss."""
FLAT_LOGS = 10
FLAT_SPREAD = 1e-3
"""Relative spread. Batches differ by more than this while a model responds to them."""
_LEARNED = 0.01
"""Below this, a loss is flat because there is nothing left to learn."""


def patience_is_lost(history: Sequence[dict[str, Any]], patience: int | None) -> bool:
    """Whether the last `patience` evaluations did not improve on the best before them.

    Computed from the history, which is saved in checkpoints: patience survives a resume.
    """
    losses = [each["eval_loss"] for each in history if "eval_loss" in each]
    if not patience or not losses:
        return False
    return len(losses) - 1 - losses.index(min(losses)) >= patience


class LossWatch:
    def __init__(self, learning_rate: float, reports: Reporter) -> None:
        self._rate, self._reports = learning_rate, reports
        self._recent: deque[float] = deque(maxlen=FLAT_LOGS)
        self._nonfinite = 0
        self._warned_flat = False

    def see(self, loss: float) -> None:
        """Record a loss. Raises `Diverged` after too many non-finite losses in a row."""
        if math.isfinite(loss):
            self._nonfinite = 0
            self._recent.append(loss)
            self._warn_if_flat(loss)
        else:
            self._nonfinite += 1
            self._on_nonfinite(loss)

    def _on_nonfinite(self, loss: float) -> None:
        if self._nonfinite == 1:
            self._warn("loss_not_finite", f"The training loss is {loss}.", Diverged.hint)
        if self._nonfinite >= NONFINITE_LOGS:
            raise Diverged(
                f"The training loss was NaN or infinite {NONFINITE_LOGS} times in a row.",
                evidence=f"train_loss: {loss}",
                suggested_patch={"training": {"learning_rate": self._rate / 10}},
            )

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
