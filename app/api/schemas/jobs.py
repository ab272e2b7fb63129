"""A job as callers see and change it."""

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
    """Why a job waits, and where it stands."""

    position: int | None
    """Place in the queue over all projects; 1 is next. Null while the job waits for its dataset to
    be validated and is not in the queue yet."""
    reason: str
    """Why the job waits, in a few words for a person."""
    estimated_start: Moment | None
    """When the job can start, in UTC: the end of the delay before another attempt, or an estimate
    from the time that the running jobs still need and that recent jobs of the queue took. Null
    while a worker is free, and where neither is known."""


class ProgressOut(Answer):
    """How far the training of a job is, as its trainer last reported."""

    step: int | None = None
    """Optimizer steps done."""
    max_steps: int | None = None
    """Optimizer steps of the whole job; fewer are done when training stops early. Null until
    training begins."""
    epoch: float | None = None
    """Passes over the training rows, with a fraction for the pass under way. Null until training
    begins."""
    fraction: float | None = None
    """Share of the optimizer steps that is done, from 0 to 1. Null until training begins."""
    tokens_seen: int | None = None
    """Tokens trained on so far, without padding and over all attempts. Null until training
    begins."""
    tokens_per_second: float | None = None
    """Training speed over the last 50 optimizer steps, in tokens without padding. Null until
    training begins."""
    eta_seconds: float | None = None
    """Estimated seconds to the last optimizer step, from the speed of the last 50. Null until a
    step is done and once the job has ended."""


class ArtifactsOut(Answer):
    """The published adapter of a succeeded job. GET /jobs/{job_id}/artifacts lists its files."""

    adapter_bytes: int
    """Size in bytes of the zip at GET /jobs/{job_id}/adapter."""
    adapter_sha256: str
    """SHA-256 of the zip at GET /jobs/{job_id}/adapter, in hexadecimal."""
    step: int | None = None
    """Optimizer step whose weights were published. Null for jobs that ended before this was
    recorded."""
    chosen: Literal["best", "last"] | None = None
    """Why that step: it has the lowest validation loss (`best`, see `training.load_best`), or it is
    the `last`. Null for jobs that ended before this was recorded."""


class JobOut(JobSpec):
    """A job: its spec with every default filled in, and what has become of it."""

    model_config = ConfigDict(strict=False, extra="ignore")

    notes: str | None
    """Free text of your own, set with PATCH; null where there is none."""
    id: str
    """Identifier of the job: `job_` and 32 hexadecimal digits. Ids sort by creation time."""
    project: str
    """Id of the project that the job belongs to."""
    status: JobStatus
    """State of the job; `succeeded`, `failed` and `cancelled` are final."""
    phase: str | None
    """What a running job is doing: `starting` (the training libraries are loaded), `preparing`,
    `training`, `evaluating` or `finalizing`. Null unless `status` is `running`."""
    status_reason: str | None
    """Why the job is in this state, as a code: that of its failure, that of the last attempt's end
    for a job that is queued again, `cancel_requested` for a running job that is being stopped. Null
    where there is nothing to say."""
    created_at: Moment
    """When the job was created, in UTC."""
    queued_at: Moment | None
    """When the job last entered the queue, in UTC; null before it first did."""
    started_at: Moment | None
    """When a worker first took the job, in UTC; null before that."""
    finished_at: Moment | None
    """When the job reached a final state, in UTC; null before that."""
    attempt: int
    """Number of attempts started so far; 0 before the first."""
    queue: QueueOut | None
    """Why the job waits, and where it stands. Null unless `status` is `validating` or `queued`."""
    progress: ProgressOut | None
    """How far training is, or was when the job ended; null until the trainer has reported."""
    trained_tokens: int | None
    """Tokens that counted in the loss, over all epochs. Null until the job has succeeded."""
    metrics: dict[str, Any]
    """Latest value of each metric by name, for example `train_loss` and `valid_loss`; empty until
    the first is logged."""
    stopped_by: Literal["early_stopping", "deadline"] | None
    """Why a succeeded job trained fewer steps than planned: `early_stopping` where the validation
    loss no longer improved (`training.early_stopping_patience`), `deadline` where
    `limits.max_seconds` had passed. Null where all steps were trained, and until the job has
    succeeded."""
    failure: FailureReport | None
    """Why the job failed; null unless `status` is `failed`."""
    artifacts: ArtifactsOut | None
    """The published adapter; null until the job has succeeded."""
    environment: Anything | None
    """What the adapter was trained with: `versions` of Python and the training libraries, `device`
    (`cpu` or `cuda`) and `device_name`. Null until the job has succeeded."""

    @staticmethod
    def of(job: Job, standings: Mapping[str, Standing]) -> "JobOut":
        artifact = job.artifact or {}
        archive = artifact.get("zip")
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
            "artifacts": archive and _artifacts(archive, artifact),
            "stopped_by": artifact.get("stopped_by"),
        }
        return JobOut.model_validate({**job.spec, **told, **changeable, **derived})


def _artifacts(archive: Anything, artifact: Anything) -> Anything:
    return {
        "adapter_bytes": archive["bytes"],
        "adapter_sha256": archive["sha256"],
        "step": artifact.get("step"),
        "chosen": artifact.get("chosen"),
    }


def _progress(job: Job) -> Anything | None:
    """What an ended job last told may promise time that will never pass."""
    if job.progress is None or not JobStatus(job.status).is_final:
        return job.progress
    return {**job.progress, "eta_seconds": None}


class JobPatch(Closed):
    """Changes to a job. A field that is left out stays as it is."""

    name: ShortText | None = None
    """New name for people; null removes it."""
    tags: Tags = Field(default_factory=dict)
    """New labels, in place of all the job has."""
    priority: Priority = 0
    """New priority: higher starts first. Accepted only while the job waits for a worker."""
    notes: str | None = Field(None, max_length=10_000)
    """New free text; null removes it."""
