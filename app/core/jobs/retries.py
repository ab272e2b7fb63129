"""The retry policy after a system failure: requeue the job with a backoff, or fail it.

Supervisor and housekeeper share it, so it does not matter which of them noticed the failure.
"""

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.db.models import Attempt, Checkpoint, Event, Job
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
DEVICE_MISSING = "device_missing"
_NOT_THE_JOBS = frozenset({DRAINED, DEVICE_MISSING})
"""Outcomes of attempts that say nothing about the job."""
_NAMED = frozenset({"internal_error", "adapter_mismatch"})
"""Codes whose evidence is an exception's text or a measurement of the trainer: the same text twice
means that a third attempt would end in it, too."""
_VARIES = re.compile(r"0x[0-9a-f]+|\d+")


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
        if attempt.outcome not in _NOT_THE_JOBS:
            fruitless += 1
            losses += attempt.outcome == WORKER_LOST
    return fruitless >= MAX_FRUITLESS or losses >= MAX_FRUITLESS_LOSSES


def is_repetition(died_of: FailureReport, before: FailureReport | None) -> bool:
    """Whether an attempt ended with the same exception as the one before it."""
    if before is None or died_of.code not in _NAMED:
        return False
    return (died_of.code, _gist(died_of)) == (before.code, _gist(before))


def _gist(failure: FailureReport) -> str:
    """The first line of the evidence without numbers, such as addresses and run directories."""
    return _VARIES.sub("#", failure.evidence.strip().partition("\n")[0])


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
    has_checkpoint = _has_checkpoint(session, lease)
    if not has_checkpoint and is_repetition(died_of, _failure_before(session, lease)):
        lifecycle.finish(session, lease, JobStatus.FAILED, failure=_repeated(died_of).as_json())
        return JobStatus.FAILED
    if is_poison([Past(died_of.code, has_checkpoint), *_past(session, lease)]):
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


def _failure_before(session: Session, lease: Lease) -> FailureReport | None:
    """The report of the last earlier attempt that says something about the job; None without."""
    epoch = session.scalar(
        select(Attempt.epoch)
        .where(Attempt.job_id == lease.job_id, lease.epoch > Attempt.epoch)
        .where(Attempt.outcome.not_in(_NOT_THE_JOBS))
        .order_by(Attempt.epoch.desc())
        .limit(1)
    )
    reported = (Event.job_id == lease.job_id, Event.epoch == epoch, Event.type == "error")
    data = session.scalar(select(Event.data).where(*reported).order_by(Event.seq.desc()).limit(1))
    return FailureReport.model_validate(data) if data else None


def _has_checkpoint(session: Session, lease: Lease) -> bool:
    own = (Checkpoint.job_id == lease.job_id, Checkpoint.run_epoch == lease.epoch)
    return session.scalar(select(Checkpoint.step).where(*own).limit(1)) is not None


def _repeated(died_of: FailureReport) -> FailureReport:
    text = died_of.evidence.strip().partition("\n")[0]
    return died_of.model_copy(
        update={
            "message": f"Two attempts ended in the same way: {text}"[:500],
            "hint": "Another attempt would end like them: change the job's spec or its base model. "
            "The attempts' logs have the whole traceback.",
            "retryable": False,
        }
    )


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
