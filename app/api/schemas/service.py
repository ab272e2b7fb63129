"""The service itself, as callers see it: queue, workers, health."""

from typing import Literal

from app.api.schemas.base import Answer, Moment


class WaitingOut(Answer):
    """A job that waits for a worker."""

    job: str
    """Id of the job."""
    name: str | None
    """Name of the job; null where it has none."""
    queue: str
    """Queue that the job waits in. Workers take jobs from one queue each."""
    status: Literal["queued", "validating"]
    """`queued`, or `validating` while a dataset of the job is still being validated."""
    priority: int
    """Priority of the job: higher starts first, and among equals the older job."""
    position: int | None
    """Place in its queue over all projects; 1 is next. Null while `status` is `validating`."""
    reason: str
    """Why the job waits, in a few words for a person."""
    estimated_start: Moment | None
    """When the job can start, in UTC: the end of the delay before another attempt, or an estimate
    from the time that the running jobs still need and that recent jobs of the queue took. Null
    while a worker is free, and where neither is known."""
    queued_at: Moment | None
    """When the job last entered the queue, in UTC; null while `status` is `validating`."""
    created_at: Moment
    """When the job was created, in UTC."""


class WorkerOut(Answer):
    """A worker: a process that trains one job at a time, on one device."""

    id: str
    """Identifier of the worker."""
    hostname: str
    """Host name of the worker's machine."""
    device: str
    """Device that the worker trains on: `cpu`, `cuda`, or `cuda:N` for one of several GPUs."""
    queue: str
    """Queue that the worker takes jobs from."""
    version: str
    """Version of Tunesmith that the worker runs."""
    job: str | None
    """Id of the job that the worker has; null while it has none."""
    started_at: Moment
    """When the worker first reported, in UTC."""
    last_seen_at: Moment
    """When the worker last reported, in UTC; every 10 seconds while it is well."""
    status: Literal["alive", "lost"]
    """`alive`, or `lost` if the worker has not reported for three renewals of a lease (45 seconds
    unless the server is set otherwise)."""


class Health(Answer):
    """That the API process answers."""

    status: Literal["ok"]
    """Always `ok`."""


class Ready(Answer):
    """That this server can take requests."""

    status: Literal["ok", "degraded"]
    """`degraded` if the broker does not answer: jobs are still accepted and start a little later.
    A server that cannot serve answers 503 instead."""
    checks: dict[str, Literal["ok", "failing"]]
    """Result by dependency: `database`, `migrations` and `broker`."""
