"""The only module that writes a job's status: one guarded UPDATE, then its event, in one
transaction.

Lease arithmetic is in the database's time. Every write of a worker is fenced by (job id, epoch,
running): zero rows mean that somebody else owns the job, and `LeaseLost` tells the worker to stop
its trainer and go.
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
    """The right to write about a running job."""

    job_id: str
    epoch: int


class LeaseLost(Exception):
    """The job is no longer this worker's: stop the trainer, write nothing, go."""


class NotCancellable(Conflict):
    code = "job_not_cancellable"


def admit(session: Session, job_id: str) -> bool:
    """validating -> queued. False when it has moved on meanwhile (cancelled, say)."""
    return _move(session, job_id, JobStatus.VALIDATING, JobStatus.QUEUED, queued_at=NOW)


def reject(session: Session, job_id: str, failure: Mapping[str, Any]) -> bool:
    """validating -> failed, before any worker saw it."""
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
    """The next job of a queue for this worker, or None. Two callers never get the same one.

    The order is priority, then age: ids sort by time.
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
        "phase": "preparing",
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
    """Hold the job for another `seconds` and learn what its owner wants. Raises LeaseLost."""
    renewed = (
        update(Job).where(*_held(lease)).values(lease_until=_in(seconds)).returning(Job.desired)
    )
    desired = session.scalar(renewed)
    if desired is None:
        raise LeaseLost(lease.job_id)
    return Desired(desired)


def record(session: Session, lease: Lease, *entries: Entry, **values: Any) -> None:
    """Write columns and events of a running job, as its holder. Raises LeaseLost."""
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
    """End a running job, once, by the worker that still holds its lease. Raises LeaseLost."""
    code = str(failure["code"]) if failure else None
    if failure:
        values["failure"] = dict(failure)
    _leave(session, lease, to, code, finished_at=NOW, phase=None, **values)


def requeue(
    session: Session, lease: Lease, reason: str, *, delay_seconds: float, is_counted: bool
) -> None:
    """Send a running job back to wait, to go on from its last committed checkpoint. Raises
    LeaseLost.

    Also how the housekeeper takes a job from a dead worker: the epoch rises, so no late write
    counts.
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
    """Ask for the end of a job. Waiting: cancelled at once. Running: its worker carries it out.

    Cancelling a cancelled job is no error. Raises NotCancellable for another final state.
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
            f"Job {job_id!r} has {status} already; there is nothing to cancel.",
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
    """running -> `to` under the lease; closes the attempt and, for the queue, raises the epoch."""
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
    """One guarded UPDATE and its event. False, and nothing written, when the guard does not
    hold.
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
