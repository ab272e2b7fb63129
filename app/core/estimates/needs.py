"""What a job needs from its machine, and warnings where the machine falls short."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.core.errors import Problem
from app.core.jobs.spec import JobSpec

_GIB = 1 << 30


@dataclass(frozen=True)
class Needs:
    """Requirements, and what is available; None for whatever is unknown."""

    peak_bytes: int | None = None
    device: str = ""
    """Name of the device class that `peak_bytes` is compared with."""
    verdict: str | None = None
    """Whether it fits: yes, tight or no."""
    disk_bytes: int | None = None
    free_bytes: int | None = None
    seconds: float | None = None
    unknown: str | None = None
    """Why memory and disk cannot be estimated."""


def about(spec: JobSpec, needs: Needs) -> Iterator[Problem]:
    if needs.unknown:
        hint = (
            "The longest batch is tried first: a job that does not fit fails in its first minute."
        )
        yield Problem("/model", "memory_unknown", needs.unknown, hint)
    yield from _about_memory(spec, needs)
    if needs.disk_bytes and needs.free_bytes is not None and needs.disk_bytes > needs.free_bytes:
        message = (
            f"The job needs up to {_shown(needs.disk_bytes)} of disk space, but only "
            f"{_shown(needs.free_bytes)} are free."
        )
        hint = "Lower `save_total_limit`, or free some disk space."
        yield Problem("/training/save_total_limit", "disk_short", message, hint)
    limit = spec.limits.max_seconds
    if limit is not None and needs.seconds is not None and needs.seconds > limit:
        message = f"The job will take about {needs.seconds:.0f} s; `max_seconds` is {limit}."
        hint = "Raise it, or train for fewer steps; past it, what was trained is published."
        yield Problem("/limits/max_seconds", "deadline_short", message, hint)


def _about_memory(spec: JobSpec, needs: Needs) -> Iterator[Problem]:
    if needs.verdict not in ("tight", "no") or needs.peak_bytes is None:
        return
    takes = f"The job needs about {_shown(needs.peak_bytes)} of memory at its peak"
    code, message = "memory_tight", f"{takes}, which may just fit on {needs.device}."
    if needs.verdict == "no":
        code, message = "memory_short", f"{takes}, more than {needs.device} has."
    pointer, hint = _easier(spec)
    yield Problem(pointer, code, message, hint)


def _easier(spec: JobSpec) -> tuple[str, str]:
    """Return the field whose change saves the most memory with the least effect on the result, and
    a hint.
    """
    training = spec.training
    if training.per_device_train_batch_size > 1:
        hint = "Halve it and double `gradient_accumulation_steps`: the result is the same."
        return "/training/per_device_train_batch_size", hint
    if not training.gradient_checkpointing:
        return "/training/gradient_checkpointing", "Set `gradient_checkpointing`."
    if spec.quantization != "nf4":
        return "/quantization", 'Set `quantization` to "nf4", or lower `max_length`.'
    return "/training/max_length", "Lower `max_length`."


def _shown(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"
