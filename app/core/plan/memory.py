"""Peak memory of a trainer, in parts, from a model's shape and a resolved spec."""

from dataclasses import dataclass
from typing import Literal

from app.core.jobs.spec import JobSpec
from app.core.plan.shape import ModelShape

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Memory:
    """Bytes. The parts stand as they are at the peak; `peak_bytes` is what counts."""

    weights: int
    """The frozen base in its precision or quantization."""
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    """Kept for the backward pass, and what a layer takes while it is computed."""
    logits: int
    """Of the loss: the head's output and its gradient, a tile at a time."""
    rows: int
    """The tokenized dataset; always on the host."""
    proof: int
    """What reloading and comparing at the end takes beyond training; 0 if training takes more."""
    runtime: int
    """Interpreter and libraries, and on a GPU its context."""
    device: Device

    @property
    def peak_bytes(self) -> int:
        raise NotImplementedError


def estimate(
    shape: ModelShape, spec: JobSpec, widest: int, device: Device, *, num_tokens: int = 0
) -> Memory:
    """`widest`: tokens of the longest sequence; `num_tokens`: of all rows together."""
    raise NotImplementedError
