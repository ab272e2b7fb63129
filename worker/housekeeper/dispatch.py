"""Finds jobs that no live worker runs: those to wake workers for, those with expired leases."""

from collections import Counter
from datetime import timedelta

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from app.core.db.models import NOW, Job, Worker
from app.core.jobs import lifecycle, retries
from app.core.jobs.failures import system_failure
from app.core.jobs.lifecycle import Lease
from app.core.jobs.status import Desired, JobStatus

_BATCH = 1000
LIVE_SECONDS = 60.0
"""A worker not seen for this long does not count as live."""


def take_due(session: Session, wake_seconds: float) -> Counter[str]:
    """Count, by queue, runnable jobs for which no worker was woken within `wake_seconds`, and mark
    them as woken.
    """
    due = (
        select(Job.id)
        .where(Job.status == JobStatus.QUEUED)
        .where((Job.not_before.is_(None)) | (Job.not_before <= NOW))
        .where((Job.woken_at.is_(None)) | (Job.woken_at < NOW - timedelta(seconds=wake_seconds)))
        .order_by(Job.id)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )
    marked = update(Job).where(Job.id.in_(due)).values(woken_at=NOW).returning(Job.queue)
    return Counter(session.scalars(marked.execution_options(synchronize_session=False)))


def num_workers(session: Session, queue: str) -> int:
    """The number of live workers of a queue."""
    seen = Worker.last_seen_at > NOW - timedelta(seconds=LIVE_SECONDS)
    found = select(func.count()).select_from(Worker).where(Worker.queue == queue, seen)
    return session.scalar(found) or 0


def expired(session: Session, lease_seconds: float) -> list[Lease]:
    """Expired leases; none during one full lease after the database started, because their holders
    may only now be able to renew.
    """
    grace = text("clock_timestamp() > pg_postmaster_start_time() + :lease * interval '1 second'")
    query = select(Job.id, Job.epoch).where(
        Job.status == JobStatus.RUNNING,
        Job.lease_until < NOW,
        grace.bindparams(lease=lease_seconds),
    )
    return [Lease(job_id, epoch) for job_id, epoch in session.execute(query.limit(_BATCH))]


def reclaim_expired(session: Session, lease: Lease, *, base_seconds: float) -> JobStatus | None:
    """Requeue, fail or cancel a job whose lease has expired. None if it was renewed meanwhile."""
    still = select(Job.id).where(
        Job.id == lease.job_id,
        Job.epoch == lease.epoch,
        Job.status == JobStatus.RUNNING,
        Job.lease_until < NOW,
    )
    if session.scalar(still.with_for_update(skip_locked=True)) is None:
        return None
    died_of = system_failure(retries.WORKER_LOST, "The worker that ran the job was lost.")
    return retries.retry_or_fail(session, lease, died_of, base_seconds=base_seconds)


def cancel_waiting(session: Session) -> list[str]:
    """Cancel queued jobs whose cancel arrived while a worker had them; return their ids."""
    query = select(Job.id).where(Job.status == JobStatus.QUEUED, Job.desired == Desired.CANCEL)
    found = list(session.scalars(query.limit(_BATCH)))
    for job_id in found:
        lifecycle.cancel(session, job_id)
    return found
