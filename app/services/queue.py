"""Waiting jobs, with their order and reasons, and the workers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.core.clock import rfc3339, utc_now
from app.core.db.models import NOW, Job, Worker
from app.core.jobs.status import JobStatus
from app.core.settings import Settings
from app.services import fleet
from app.services.caller import Caller

ALIVE_FOR_RENEWALS = 3


@dataclass(frozen=True)
class Standing:
    position: int | None
    """1 is next; None until the job is in the queue."""
    reason: str
    estimated_start: datetime | None
    """The end of a backoff, or an estimate from the jobs ahead; None where nothing is known."""


@dataclass(frozen=True)
class Waiting:
    job: Job
    standing: Standing


@dataclass(frozen=True)
class Seen:
    worker: Worker
    is_alive: bool


def standings(
    session: Session, jobs: Collection[Job], settings: Settings
) -> Mapping[str, Standing]:
    """Return standings by job id, for waiting jobs only."""
    waiting = [job for job in jobs if job.status in (JobStatus.VALIDATING, JobStatus.QUEUED)]
    if not waiting:
        return {}
    positions = _positions(session, [job.id for job in waiting])
    fleets = {name: fleet.read(session, name, patience(settings)) for name in _queues(waiting)}
    return {job.id: _standing(job, positions.get(job.id), fleets[job.queue]) for job in waiting}


def waiting(session: Session, caller: Caller, settings: Settings, limit: int) -> list[Waiting]:
    """Return jobs in the order in which workers claim them; those in validation come last."""
    found = list(
        session.scalars(
            select(Job)
            .where(Job.project_id == caller.project_id)
            .where(Job.status.in_([JobStatus.QUEUED, JobStatus.VALIDATING]))
            .order_by(Job.status == JobStatus.VALIDATING, Job.queue, Job.priority.desc(), Job.id)
            .limit(limit)
        )
    )
    known = standings(session, found, settings)
    return [Waiting(job, known[job.id]) for job in found]


def workers(session: Session, settings: Settings) -> list[Seen]:
    horizon = session.scalars(select(NOW - patience(settings))).one()
    rows = session.scalars(select(Worker).order_by(Worker.last_seen_at.desc()).limit(1000))
    return [Seen(worker, worker.last_seen_at >= horizon) for worker in rows]


def served_queues(session: Session, settings: Settings) -> frozenset[str]:
    """Return the queues that have a live worker."""
    alive = select(Worker.queue).where(Worker.last_seen_at >= NOW - patience(settings)).distinct()
    return frozenset(session.scalars(alive))


def patience(settings: Settings) -> timedelta:
    return timedelta(seconds=ALIVE_FOR_RENEWALS * settings.renew_seconds)


def _positions(session: Session, job_ids: Sequence[str]) -> dict[str, int]:
    place = func.row_number().over(partition_by=Job.queue, order_by=(Job.priority.desc(), Job.id))
    line = select(Job.id, place.label("place")).where(Job.status == JobStatus.QUEUED).subquery()
    found = session.execute(select(line.c.id, line.c.place).where(line.c.id.in_(job_ids)))
    return {row.id: row.place for row in found}


def _queues(jobs: Collection[Job]) -> set[str]:
    return {job.queue for job in jobs}


def _standing(job: Job, position: int | None, served_by: fleet.Fleet) -> Standing:
    if job.status == JobStatus.VALIDATING:
        return Standing(None, "validating dataset", None)
    if job.not_before is not None and job.not_before > utc_now():
        reason = f"backing off until {rfc3339(job.not_before)}"
        if job.status_reason:
            reason += f" after {job.status_reason}"
        return Standing(position, reason, job.not_before)
    if not served_by.workers:
        return Standing(position, f"no worker is alive on queue {job.queue!r}", None)
    if position is None:  # a worker claimed it meanwhile
        return Standing(None, "waiting for a worker", None)
    return Standing(position, served_by.reason(position, job.queue), served_by.start_of(position))
