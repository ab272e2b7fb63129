"""A job, and what belongs to it, as callers see them."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.api.schemas.base import Answer, Anything, Moment
from app.core.db.models import Job
from app.core.jobs.failures import FailureReport
from app.core.jobs.spec import Closed, JobSpec, Priority, ShortText, Tags
from app.core.jobs.status import JobStatus
from app.services.queue import Standing


class QueueOut(Answer):
    position: int | None
    """1 is next; null while the job is not in the queue yet."""
    reason: str
    estimated_start: Moment | None


class ProgressOut(Answer):
    step: int | None = None
    max_steps: int | None = None
    epoch: float | None = None
    fraction: float | None = None
    tokens_seen: int | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None


class ArtifactsOut(Answer):
    adapter_bytes: int
    adapter_sha256: str
    """Of the zip at GET /jobs/{id}/adapter."""


class JobOut(JobSpec):
    """The resolved spec, and what has become of it."""

    model_config = ConfigDict(strict=False, extra="ignore")

    notes: str | None
    id: str
    project: str
    status: JobStatus
    phase: str | None
    status_reason: str | None
    created_at: Moment
    queued_at: Moment | None
    started_at: Moment | None
    finished_at: Moment | None
    attempt: int
    queue: QueueOut | None
    """Null once a worker has it."""
    progress: ProgressOut | None
    trained_tokens: int | None
    metrics: dict[str, Any]
    """The latest value of each."""
    failure: FailureReport | None
    artifacts: ArtifactsOut | None
    """Null until it has succeeded."""
    environment: Anything | None

    @staticmethod
    def of(job: Job, standings: Mapping[str, Standing]) -> "JobOut":
        archive = (job.artifact or {}).get("zip")
        told = {
            name: getattr(job, name)
            for name in JobOut.model_fields
            if name not in JobSpec.model_fields and hasattr(job, name)
        }
        changeable = {name: getattr(job, name) for name in ("name", "tags", "priority")}
        derived = {
            "project": job.project_id,
            "progress": _progress(job),
            "queue": standings.get(job.id),
            "artifacts": archive
            and {"adapter_bytes": archive["bytes"], "adapter_sha256": archive["sha256"]},
        }
        return JobOut.model_validate({**job.spec, **told, **changeable, **derived})


def _progress(job: Job) -> Anything | None:
    """What an ended job last told may promise time that will never pass."""
    if job.progress is None or not JobStatus(job.status).is_final:
        return job.progress
    return {**job.progress, "eta_seconds": None}


class JobPatch(Closed):
    """Only what is given changes; null clears where null is allowed."""

    name: ShortText | None = None
    tags: Tags = Field(default_factory=dict)
    priority: Priority = 0
    notes: str | None = Field(None, max_length=10_000)


class EventOut(Answer):
    seq: int
    job_id: str
    attempt: int
    at: Moment
    type: str
    level: Literal["debug", "info", "warning", "error"]
    message: str
    data: Anything


class AttemptOut(Answer):
    attempt: int
    worker: str = Field(validation_alias="worker_id")
    started_at: Moment
    ended_at: Moment | None
    outcome: str | None
    """Null while it runs."""
    resumed_from_step: int | None


class CheckpointOut(Answer):
    step: int
    epoch: float = Field(validation_alias="train_epoch")
    metrics: Anything
    bytes: int = Field(validation_alias="num_bytes")
    best: bool
    kept: bool
    created_at: Moment


class SampleOut(Answer):
    """One held-out prompt, answered by the base model and by the adapter."""

    step: int | None = None
    prompt: str
    base: str | None = None
    adapter: str | None = None
