"""A job's states and the allowed transitions, as data; no transition leaves a final state."""

from collections.abc import Mapping
from enum import StrEnum


class JobStatus(StrEnum):
    """State of a job. `validating` (waits for its dataset), then `queued` (waits for a worker),
    `running`, and at the end `succeeded`, `failed` or `cancelled`, which are final. A running job
    that loses its worker is `queued` again; a `paused` one waits to be resumed."""

    VALIDATING = "validating"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return not ALLOWED[self]


class Desired(StrEnum):
    """What the owner wants of a job; the worker learns it when it renews its lease."""

    RUN = "run"
    CANCEL = "cancel"


ALLOWED: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.VALIDATING: frozenset({JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.QUEUED: frozenset(
        {JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED}
    ),
    # A lost worker sends a running job back to the queue.
    JobStatus.RUNNING: frozenset(
        {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.QUEUED}
    ),
    JobStatus.PAUSED: frozenset({JobStatus.QUEUED, JobStatus.CANCELLED}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}

FINAL: frozenset[JobStatus] = frozenset(status for status, to in ALLOWED.items() if not to)


class IllegalTransition(Exception):
    """A bug in the caller: `ALLOWED` has no such transition."""


def check_transition(source: JobStatus, to: JobStatus) -> None:
    if to not in ALLOWED[source]:
        raise IllegalTransition(f"{source} -> {to}")
