"""The states of a job and the moves between them, as data; final means no way out."""

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
    """What the owner wants of a job; rides to the worker on the renewal of its lease."""

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
    """A bug in the caller: the table has no such move."""


def check_transition(source: JobStatus, to: JobStatus) -> None:
    if to not in ALLOWED[source]:
        raise IllegalTransition(f"{source} -> {to}")
