"""How long a job will take, from how long others took on this hardware; the basis is always said."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.jobs.spec import JobSpec
from app.core.plan.memory import Device
from app.core.plan.shape import ModelShape


@dataclass(frozen=True)
class Work:
    """Counted over the whole job, all epochs."""

    tokens: int
    """Of rows, without padding: what `tokens_seen` will say at the end."""
    computed: int
    """With padding."""
    steps: int
    width: int
    """Mean tokens of a row: what attention looks back over."""
    eval_tokens: int = 0
    """Over all evaluations."""
    checkpoints: int = 0


@dataclass(frozen=True)
class PastRun:
    """A succeeded job of this server."""

    spec: JobSpec
    shape: ModelShape | None
    """None if its base is no longer here."""
    device: Device
    device_name: str
    tokens_seen: int
    tokens_per_second: float
    seconds: float
    """From start to end, with loading, evaluations and proof."""


@dataclass(frozen=True)
class Time:
    estimate: float | None
    """Seconds from the job's start to its end; None when nothing says how long."""
    basis: str
    """One sentence."""


def estimate(
    shape: ModelShape,
    spec: JobSpec,
    work: Work,
    device: Device,
    past: Sequence[PastRun] = (),
    *,
    device_name: str | None = None,
) -> Time:
    raise NotImplementedError
