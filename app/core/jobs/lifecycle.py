"""The only module that writes a job's status: one guarded UPDATE, then its event, in one
transaction.

Leases use the database's clock. Every write by a worker is fenced by (job id, epoch, status
running): zero updated rows mean that the worker no longer owns the job, and `LeaseLost` tells it to
stop its trainer and let go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.orm import Session

from app.core.db.models import NOW, Attempt, Job
from app.core.errors import Conflict
from app.core.events import log
from app.core.events.log import Entry
from app.core.jobs.status import ALLOWED, FINAL, Desired, JobStatus, check_transition


@dataclass(frozen=True)
class Lease:
    """The right to update a running job."""

    job_id: str
    epoch: int


class LeaseLost(Exception):
    """The worker no longer owns the job: it must stop its trainer and write nothing more."""


class NotCancellable(Conflict):
    code = "job_not_cancellable"


def admit(session: Session, job_id: str) -> bool:
    """Move a job from validating to queued. Return False if its status has changed meanwhile
    (cancelled, for example).
    """
    return _move(session, job_id, JobStatus.VALIDATING, JobStatus.QUEUED, queued_at=NOW)


def reject(session: Session, job_id: str, failure: Mapping[str, Any]) -> bool:
    """Move a job from validating to failed, before any worker has seen it."""
    return _move(
        session,
        job_id,
        JobStatus.VALIDATING,
        JobStatus.FAILED,
        reason=str(failure["code"]),
        failure=dict(failure),
        finished_at=NOW,
    )


def claim(session: Session, *, queue: str, worker_id: str, seconds: float) -> Job | None:
    """Claim the next job of a queue, or return None. Two callers never get the same job.

    Jobs are ordered by priority, then by age: ids sort by time.
    """
    waiting = (
        select(Job.id)
        .where(Job.status == JobStatus.QUEUED, Job.queue == queue)
        .where((Job.not_before.is_(None)) | (Job.not_before <= NOW))
        .order_by(Job.priority.desc(), Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    job_id = session.scalar(waiting)
    if job_id is None:
        return None
    values: dict[str, Any] = {
        "attempt": Job.attempt + 1,
        "epoch": Job.epoch + 1,
        "lease_until": _in(seconds),
        "worker_id": worker_id,
        "phase": "starting",
        "started_at": func.coalesce(Job.started_at, NOW),
        "not_before": None,
    }
    _move(session, job_id, JobStatus.QUEUED, JobStatus.RUNNING, **values)
    job = session.get_one(Job, job_id, populate_existing=True)
    session.execute(
        insert(Attempt).values(
            job_id=job_id, epoch=job.epoch, attempt=job.attempt, worker_id=worker_id
        )
    )
    return job


def renew(session: Session, lease: Lease, seconds: float) -> Desired:
    """Extend the lease to `seconds` from now and return what the owner wants. Raises LeaseLost."""
    renewed = (
        update(Job).where(*_held(lease)).values(lease_until=_in(seconds)).returning(Job.desired)
    )
    desired = session.scalar(renewed)
    if desired is None:
        raise LeaseLost(lease.job_id)
    return Desired(desired)


def record(session: Session, lease: Lease, *entries: Entry, **values: Any) -> None:
    """Update a running job's columns and append events, as its lease holder. Raises LeaseLost."""
    assert "status" not in values
    guarded = update(Job).where(*_held(lease)).values(epoch=lease.epoch, **values)
    if session.execute(guarded.returning(Job.id)).one_or_none() is None:
        raise LeaseLost(lease.job_id)
    if entries:
        log.append(session, lease.job_id, *entries)


def finish(
    session: Session,
    lease: Lease,
    to: JobStatus,
    *,
    failure: Mapping[str, Any] | None = None,
    **values: Any,
) -> None:
    """End a running job exactly once, as its lease holder. Raises LeaseLost."""
    code = str(failure["code"]) if failure else None
    if failure:
        values["failure"] = dict(failure)
    _leave(session, lease, to, code, finished_at=NOW, phase=None, **values)


def requeue(
    session: Session, lease: Lease, reason: str, *, delay_seconds: float, is_counted: bool
) -> None:
    """Return a running job to the queue, to resume from its last committed checkpoint. Raises
    LeaseLost.

    The housekeeper also uses this to reclaim a dead worker's job: the epoch rises, so the worker's
    late writes are rejected.
    """
    _leave(
        session,
        lease,
        JobStatus.QUEUED,
        reason,
        queued_at=NOW,
        not_before=_in(delay_seconds),
        infra_attempts=Job.infra_attempts + int(is_counted),
        woken_at=None,
        phase=None,
    )


def cancel(session: Session, job_id: str) -> JobStatus:
    """Request cancellation. A waiting job is cancelled at once, a running one by its worker.

    Cancelling a cancelled job is not an error. Raises NotCancellable in any other final state.
    """
    job = session.get_one(Job, job_id, with_for_update=True, populate_existing=True)
    status = JobStatus(job.status)
    if status is JobStatus.RUNNING:
        if job.desired != Desired.CANCEL:
            job.desired, job.status_reason = Desired.CANCEL, "cancel_requested"
            session.flush()
            log.append(
                session, job_id, Entry("status", "cancel requested", data={"status": status})
            )
    elif JobStatus.CANCELLED in ALLOWED[status]:
        _move(session, job_id, status, JobStatus.CANCELLED, reason="cancelled", finished_at=NOW)
        return JobStatus.CANCELLED
    elif status is not JobStatus.CANCELLED:
        raise NotCancellable(
            f"Job {job_id!r} has already {status}; there is nothing to cancel.",
            current=status,
            allowed=["delete"],
        )
    return status


def is_final(status: str) -> bool:
    return JobStatus(status) in FINAL


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (Job.id == lease.job_id, Job.epoch == lease.epoch, Job.status == JobStatus.RUNNING)


def _in(seconds: float) -> ColumnElement[Any]:
    return NOW + timedelta(seconds=seconds)


def _leave(
    session: Session, lease: Lease, to: JobStatus, reason: str | None, **values: Any
) -> None:
    """Move a running job to `to` under its lease, close the attempt and, when requeueing, raise the
    epoch. Raises LeaseLost.
    """
    fenced = {"lease_until": None, "worker_id": None, **values}
    if to is JobStatus.QUEUED:
        fenced["epoch"] = Job.epoch + 1
    if not _move(
        session, lease.job_id, JobStatus.RUNNING, to, reason=reason, epoch_is=lease.epoch, **fenced
    ):
        raise LeaseLost(lease.job_id)
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == lease.job_id, Attempt.epoch == lease.epoch)
        .values(ended_at=NOW, outcome=reason or to)
    )


def _move(
    session: Session,
    job_id: str,
    source: JobStatus,
    to: JobStatus,
    *,
    reason: str | None = None,
    epoch_is: int | None = None,
    **values: Any,
) -> bool:
    """Do one guarded UPDATE and append its event. Return False, with nothing written, if the guard
    fails.
    """
    check_transition(source, to)
    guard = [Job.id == job_id, Job.status == source]
    if epoch_is is not None:
        guard.append(Job.epoch == epoch_is)
    moved = update(Job).where(*guard).values(status=to, status_reason=reason, **values)
    if session.execute(moved.returning(Job.id)).one_or_none() is None:
        return False
    data = {"status": to, "reason": reason, "failure": values.get("failure")}
    level = "error" if to is JobStatus.FAILED else "info"
    known = {key: value for key, value in data.items() if value is not None}
    log.append(session, job_id, Entry("status", reason or to, level, known))
    return True
