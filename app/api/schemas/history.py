"""What became of a job, as callers see it: events, attempts, checkpoints and samples."""

from typing import Literal

from pydantic import Field

from app.api.schemas.base import Answer, Anything, Moment


class EventOut(Answer):
    """Something that happened to a job."""

    seq: int
    """Number of the event within its job: 1, 2, 3 and so on without gaps. In the stream it is the
    `id`, to be sent as `Last-Event-ID` after a break."""
    job_id: str
    """Id of the job."""
    attempt: int
    """Number of the attempt that was the latest when it happened; 0 before the first."""
    at: Moment
    """When it happened, in UTC."""
    type: str
    """Kind of event: `status`, `phase`, `queue`, `progress`, `metrics`, `eval`, `sample`,
    `checkpoint`, `log`, `warning`, `error` or `artifact`."""
    level: Literal["debug", "info", "warning", "error"]
    """Severity of the event."""
    message: str
    """What happened, in a few words for a person; may be empty. The wording may change: act on
    `type` and `data`."""
    data: Anything
    """Details of the event, by `type`: the `status` and its `reason`, the `phase`, the fields of a
    job's `progress`, `step` and `values` of metrics, the fields of a checkpoint or a sample,
    `code`, `pointer` and `hint` of a warning, the failure, or the published `files`."""


class AttemptOut(Answer):
    """One attempt of a worker at a job."""

    attempt: int
    """Number of the attempt, from 1."""
    worker: str = Field(validation_alias="worker_id")
    """Id of the worker that made the attempt."""
    started_at: Moment
    """When the worker took the job, in UTC."""
    ended_at: Moment | None
    """When the attempt ended, in UTC; null while it runs."""
    outcome: str | None
    """How the attempt ended: `succeeded`, `cancelled`, `drained` (the worker was stopped in an
    orderly way) or the code of its failure, for example `worker_lost`. Null while it runs."""
    resumed_from_step: int | None
    """Optimizer step of the newest checkpoint that the attempt found to resume from; null where it
    started from the beginning."""


class CheckpointOut(Answer):
    """A checkpoint that training has committed."""

    step: int
    """Optimizer steps done when it was written."""
    epoch: float = Field(validation_alias="train_epoch")
    """Passes over the training rows done when it was written."""
    metrics: Anything
    """`valid_loss` at that step; empty where no evaluation took place at it."""
    bytes: int = Field(validation_alias="num_bytes")
    """Size of its files in bytes."""
    best: bool
    """Whether its validation loss is the lowest of the job's checkpoints: true for at most one, and
    revised as better ones come."""
    kept: bool
    """Whether its files are still there: `training.save_total_limit` deletes older ones."""
    created_at: Moment
    """When it was recorded, in UTC."""


class SampleOut(Answer):
    """The answers of the base model and of the trained adapter to one of the `sample_prompts`, both
    greedy and of at most 128 tokens."""

    step: int | None = None
    """Optimizer steps that the adapter was trained for."""
    prompt: str
    """Prompt as the spec has it, before the template is applied."""
    base: str | None = None
    """Answer of the base model without the adapter."""
    adapter: str | None = None
    """Answer of the base model with the adapter."""
