"""The final write of an attempt. The job's row is locked first, so that exactly one of a cancel and
a completion that arrive together takes effect.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.core.events.log import Entry
from app.core.jobs import lifecycle, retries
from app.core.jobs.lifecycle import Lease
from app.core.jobs.status import Desired, JobStatus
from app.core.settings import Settings
from worker.supervisor.outcome import Cancelled, DeviceMissing, Drained, Failed, Outcome, Succeeded
from worker.supervisor.report_reader import ArtifactData


def conclude(
    session: Session,
    lease: Lease,
    outcome: Outcome,
    settings: Settings,
    *,
    artifact: Mapping[str, Any] | None = None,
) -> JobStatus:
    """Record the outcome and return the job's new status. Raises LeaseLost.

    `artifact` is what was published; only a success has one.
    """
    desired = lifecycle.renew(session, lease, settings.lease_seconds)
    if isinstance(outcome, Cancelled) or desired is Desired.CANCEL:
        lifecycle.finish(session, lease, JobStatus.CANCELLED)
        return JobStatus.CANCELLED
    if isinstance(outcome, Succeeded):
        assert artifact is not None
        _succeed(session, lease, outcome.artifact, artifact)
        return JobStatus.SUCCEEDED
    if isinstance(outcome, Failed):
        lifecycle.finish(session, lease, JobStatus.FAILED, failure=outcome.failure.as_json())
        return JobStatus.FAILED
    if isinstance(outcome, Drained):
        delay = outcome.delay_seconds
        lifecycle.requeue(session, lease, retries.DRAINED, delay_seconds=delay, is_counted=False)
        return JobStatus.QUEUED
    if isinstance(outcome, DeviceMissing):
        delay = settings.retry_base_seconds
        reason = retries.DEVICE_MISSING
        lifecycle.requeue(session, lease, reason, delay_seconds=delay, is_counted=False)
        return JobStatus.QUEUED
    base = settings.retry_base_seconds
    return retries.retry_or_fail(session, lease, outcome.failure, base_seconds=base)


def _succeed(
    session: Session, lease: Lease, reported: ArtifactData, artifact: Mapping[str, Any]
) -> None:
    about = {name: getattr(reported, name) for name in ("step", "chosen", "stopped_by")}
    data = {"files": artifact["files"], "zip": artifact["zip"], **about}
    lifecycle.record(session, lease, Entry("artifact", "adapter ready", data=data))
    lifecycle.finish(
        session,
        lease,
        JobStatus.SUCCEEDED,
        artifact={**artifact, **about},
        trained_tokens=reported.trained_tokens,
        environment=reported.environment,
    )
