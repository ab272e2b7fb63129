"""Estimated duration of a job, from past runs on the same hardware; always with its basis."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from app.core.estimates import speed
from app.core.estimates.flops import forward_flops, training_flops
from app.core.estimates.precision import Device, precision
from app.core.estimates.shape import ModelShape
from app.core.jobs.spec import JobSpec

_SHARE_OF_PRODUCTS = 0.35
"""Share of a CPU's matrix product speed that training reaches. Measured on models of 20 to 132 M
parameters: 0.2 to 0.33 in wall time on a busy machine, 0.57 in CPU time. Narrower ones reach less.
"""
_OVERHEAD_SECONDS = 15.0
"""Imports, loading, probe, proof and publishing. This and the next two are assumptions, used until
a job has been measured."""
_STEP_SECONDS = 0.05
"""Time per step outside matrix products: optimizer, hooks, reports."""
_CHECKPOINT_SECONDS = 0.3


@dataclass(frozen=True)
class Work:
    """The work of the whole job, over all epochs."""

    tokens: int
    """Tokens of rows, without padding: the final value of `tokens_seen`."""
    computed: int
    """Tokens including padding."""
    steps: int
    width: int
    """Mean tokens per row: the context length of attention."""
    eval_tokens: int = 0
    """Tokens over all evaluations."""
    checkpoints: int = 0


@dataclass(frozen=True)
class PastRun:
    """A job that succeeded on this server."""

    spec: JobSpec
    shape: ModelShape | None
    """None if its base model is no longer available."""
    device: Device
    device_name: str
    tokens_seen: int
    tokens_per_second: float
    seconds: float
    """From start to end, including loading, evaluations and proof."""
    eval_tokens: int = 0


@dataclass(frozen=True)
class Time:
    estimate: float | None
    """Seconds from the job's start to its end; None if there is nothing to estimate from."""
    basis: str
    """What the estimate is based on, in one sentence."""


def estimate(
    shape: ModelShape,
    spec: JobSpec,
    work: Work,
    device: Device,
    past: Sequence[PastRun] = (),
    *,
    device_name: str | None = None,
) -> Time:
    """Estimate from the most similar run of `past` (newest first), else from the speed of matrix
    products on this CPU.
    """
    flops = training_flops(shape, spec, work.width)
    evaluation = work.eval_tokens * forward_flops(shape, spec, work.width)
    total = work.computed * flops + evaluation
    run = _nearest(flops, spec, work.width, device, past, device_name)
    if run is not None:
        rate = run.tokens_per_second * _flops(run, work.width, flops)
        return Time(total / rate + _overhead(run, work.width, rate), _render_basis(run, spec))
    if device == "cuda":
        reason = "No job has been measured on this GPU yet, so the time cannot be estimated."
        return Time(None, reason)
    products = speed.matrix_flops()
    if products is None:
        return Time(None, "No job has been measured yet, and the speed of this CPU is unknown.")
    seconds = total / (products * _SHARE_OF_PRODUCTS) + _OVERHEAD_SECONDS
    seconds += work.steps * _STEP_SECONDS + work.checkpoints * _CHECKPOINT_SECONDS
    return Time(
        seconds,
        "No job has been measured yet. This is a rough estimate: matrix products reach "
        f"{products / 1e9:.0f} GFLOP/s on this machine, and training is assumed to reach "
        f"{_SHARE_OF_PRODUCTS:.0%} of that.",
    )


def _nearest(
    flops: float,
    spec: JobSpec,
    width: int,
    device: Device,
    past: Sequence[PastRun],
    device_name: str | None,
) -> PastRun | None:
    """Prefer runs of the same model, then quantization, then precision, then the run with the most
    similar FLOPs per token.
    """
    usable = [
        run
        for run in past
        if run.device == device
        and (device_name is None or run.device_name == device_name)
        and (run.shape is not None or run.spec.model == spec.model)
        and run.tokens_per_second > 0
        and run.tokens_seen > 0
    ]

    def distance(run: PastRun) -> tuple[bool, bool, bool, float]:
        return (
            run.spec.model != spec.model,
            run.spec.quantization != spec.quantization,
            precision(run.spec, device) != precision(spec, device),
            abs(log(_flops(run, width, flops) / flops)),
        )

    return min(usable, key=distance, default=None)


def _flops(run: PastRun, width: int, otherwise: float) -> float:
    """FLOPs per token of that run, for rows of `width` tokens. A run without a shape trained the
    same base model.
    """
    return otherwise if run.shape is None else training_flops(run.shape, run.spec, width)


def _overhead(run: PastRun, width: int, rate: float) -> float:
    """Seconds the run spent outside training and evaluation: start-up, checkpoints, proof."""
    evaluating = 0.0
    if run.shape is not None:
        evaluating = run.eval_tokens * forward_flops(run.shape, run.spec, width) / rate
    return max(0.0, run.seconds - run.tokens_seen / run.tokens_per_second - evaluating)


def _render_basis(run: PastRun, spec: JobSpec) -> str:
    what = "the same model" if run.spec.model == spec.model else f"another model ({run.spec.model})"
    changes = []
    if run.spec.model != spec.model:
        changes.append("scaled by FLOPs per token")
    if run.spec.quantization != spec.quantization:
        changes.append(f"whose quantization was {run.spec.quantization}, not {spec.quantization}")
    more = "".join(f", {each}" for each in changes)
    return (
        f"From a finished job with {what} on {run.device_name}: "
        f"{run.tokens_per_second:,.0f} tokens/s{more}."
    )
