"""The precision a job computes in, by device."""

from typing import Literal

from app.core.jobs.spec import JobSpec

Device = Literal["cpu", "cuda"]


def precision(spec: JobSpec, device: str) -> Literal["fp32", "bf16"]:
    """On a CPU bf16 is several times slower, so `auto` is fp32 there and bf16 on a GPU."""
    if spec.training.precision != "auto":
        return spec.training.precision
    return "fp32" if device == "cpu" else "bf16"
