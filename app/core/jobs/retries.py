"""The retry policy after a system failure: requeue the job with a backoff, or fail it.

Supervisor and housekeeper share it, so it does not matter which of them noticed the failure.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.db.models import Attempt, Checkpoint, Job
from app.core.jobs import lifecycle
from app.core.jobs.failures import FailureReport
from app.core.jobs.lifecycle import Lease
from app.core.jobs.spec import Limits
from app.core.jobs.status import Desired, JobStatus

MAX_DELAY_SECONDS = 600.0
MAX_FRUITLESS = 3
"""Attempts in a row without a new committed checkpoint."""
MAX_FRUITLESS_LOSSES = 2
"""The same limit, for attempts whose worker was lost."""
WORKER_LOST = "worker_lost"
DRAINED = "drained"


@dataclass(frozen=True)
class Past:
    """What the policy needs to know about an ended attempt."""

    outcome: str
    is_fruitful: bool
    """Whether it committed a checkpoint."""


def is_poison(past: Sequence[Past]) -> bool:
    """Whether the attempts, newest first, show that another one would fail the same way."""
    fruitless = 0
    losses = 0
    for attempt in past:
        if attempt.is_fruitful:
            break
        if attempt.outcome != DRAINED:
            fruitless += 1
            losses += attempt.outcome == WORKER_LOST
    return fruitless >= MAX_FRUITLESS or losses >= MAX_FRUITLESS_LOSSES


def delay_seconds(base: float, infra_attempts: int) -> float:
    """Exponential backoff with up to 25 % jitter, so that retries do not happen in lockstep."""
    doubled = base * 2.0 ** min(infra_attempts, 20)
    return min(doubled, MAX_DELAY_SECONDS) * random.uniform(0.75, 1.0)


def retry_or_fail(
    session: Session, lease: Lease, died_of: FailureReport, *, base_seconds: float
) -> JobStatus:
    """Requeue the job, fail it, or carry out a cancel requested meanwhile. Raises LeaseLost."""
    job = _locked(session, lease)
    limits = Limits.model_validate(job.spec.get("limits", {}))
    if job.desired == Desired.CANCEL:
        lifecycle.finish(session, lease, JobStatus.CANCELLED)
        return JobStatus.CANCELLED
    if is_poison([Past(died_of.code, _has_checkpoint(session, lease)), *_past(session, lease)]):
        lifecycle.finish(session, lease, JobStatus.FAILED, failure=_poison(died_of).as_json())
        return JobStatus.FAILED
    if job.infra_attempts >= limits.max_retries:
        lifecycle.finish(session, lease, JobStatus.FAILED, failure=died_of.as_json())
        return JobStatus.FAILED
    delay = delay_seconds(base_seconds, job.infra_attempts)
    lifecycle.requeue(session, lease, died_of.code, delay_seconds=delay, is_counted=True)
    return JobStatus.QUEUED


def _locked(session: Session, lease: Lease) -> Job:
    held = (Job.id == lease.job_id, Job.epoch == lease.epoch, Job.status == JobStatus.RUNNING)
    query = select(Job).where(*held).with_for_update().execution_options(populate_existing=True)
    job = session.scalar(query)
    if job is None:
        raise lifecycle.LeaseLost(lease.job_id)
    return job


def _past(session: Session, lease: Lease) -> list[Past]:
    """Return the attempts before this one, newest first."""
    ended = session.execute(
        select(Attempt.epoch, Attempt.outcome)
        .where(Attempt.job_id == lease.job_id, Attempt.epoch < lease.epoch)
        .order_by(Attempt.epoch.desc())
    )
    fruitful: Collection[int] = set(
        session.scalars(select(Checkpoint.run_epoch).where(Checkpoint.job_id == lease.job_id))
    )
    return [Past(outcome or "", epoch in fruitful) for epoch, outcome in ended]


def _has_checkpoint(session: Session, lease: Lease) -> bool:
    own = (Checkpoint.job_id == lease.job_id, Checkpoint.run_epoch == lease.epoch)
    return session.scalar(select(Checkpoint.step).where(*own).limit(1)) is not None


def _poison(died_of: FailureReport) -> FailureReport:
    message = f"The job's attempts failed without progress. The last failure: {died_of.message}"
    return died_of.model_copy(
        update={
            "code": "poison",
            "message": message,
            "hint": died_of.hint
            or "Read the attempts' logs; the job itself seems to be the cause.",
            "retryable": False,
        }
    )
