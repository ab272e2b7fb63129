"""The adapter with the lowest validation loss, and the choice of the weights that are published.

The weights are kept in memory and in every later checkpoint: `save_total_limit` may delete the
checkpoint of their own step, and a resumed run must still have them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.core.jobs.spec import JobSpec
from worker.training.losses import evaluations, patience_is_lost

FILE = "best_adapter.safetensors"


@dataclass(frozen=True)
class Shipped:
    """Which weights became the artifact."""

    step: int
    chosen: Literal["best", "last"]
    reason: str
    """One sentence for a person."""
    stopped_by: Literal["early_stopping", "deadline"] | None = None
    """Why training ended before its last step; None if it did not."""
    valid_loss: float | None = None
    """Validation loss of these weights, where it is known."""


def lowest(history: Sequence[dict[str, Any]]) -> tuple[int, float] | None:
    """Step and loss of the first of the evaluations with the lowest loss."""
    finite = [each for each in evaluations(history).items() if math.isfinite(each[1])]
    return min(finite, key=lambda each: each[1], default=None)


class BestAdapter:
    def __init__(self, model: Any, checkpoint: Path | None) -> None:
        """`checkpoint`: the one that training resumes from."""
        self._model = model
        self._weights: dict[str, Any] = {}
        self.step: int | None = None
        """Step of the weights that are held; None while there are none."""
        if checkpoint is not None and (checkpoint / FILE).is_file():
            self._read(checkpoint / FILE)

    def take(self, step: int) -> None:
        """Hold a copy of the weights as they are now."""
        self.step = step
        self._weights = {name: each.detach().cpu().clone() for name, each in self._trained()}

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        if self.step is not None:
            save_file(self._weights, folder / FILE, metadata={"step": str(self.step)})

    def restore(self) -> None:
        """Put the held weights into the model."""
        import torch

        with torch.no_grad():
            for name, parameter in self._trained():
                parameter.copy_(self._weights[name])

    def _read(self, path: Path) -> None:
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            self.step = int(file.metadata()["step"])
            self._weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def _trained(self) -> list[tuple[str, Any]]:
        named = self._model.named_parameters()
        return [(name, each) for name, each in named if each.requires_grad]


def choose(
    spec: JobSpec, best: BestAdapter | None, state: Any, *, is_past_deadline: bool
) -> Shipped:
    """Choose the weights to publish and leave them in the model."""
    stopped_by = _stopped_by(spec, state, is_past_deadline)
    last, found = state.global_step, lowest(state.log_history)
    if best is not None and found is not None and best.step == found[0]:
        step, loss = found
        if step != last:
            best.restore()
        reason = f"Step {step} of {last} has the lowest validation loss, {loss:.4f}."
        return Shipped(step, "best", reason, stopped_by, loss)
    why = "nothing was evaluated" if spec.ships_best else "`load_best` is not in force"
    reason = f"Step {last} is the last; {why}."
    return Shipped(last, "last", reason, stopped_by, evaluations(state.log_history).get(last))


def _stopped_by(
    spec: JobSpec, state: Any, is_past_deadline: bool
) -> Literal["early_stopping", "deadline"] | None:
    if state.global_step >= state.max_steps:
        return None
    if patience_is_lost(state.log_history, spec.training.early_stopping_patience):
        return "early_stopping"
    return "deadline" if is_past_deadline else None
