"""The protocol between supervisor and trainer: a run directory goes in, reports and files come out.

    RUN_DIR/plan.json                 a `Plan`, written by the supervisor (or by hand)
    RUN_DIR/stop                      appears when the trainer should stop; holds a `StopReason`
    RUN_DIR/trainer.log               the trainer's output, written by the supervisor
    RUN_DIR/metrics.jsonl             one {"step", "values"} per logged step, by the trainer
    RUN_DIR/checkpoints/checkpoint-N  saved by the Trainer; committed by a valid COMMIT.json
    RUN_DIR/artifact/                 the artifact's files and, written last, manifest.json

Reports are JSON lines on the file descriptor named by TUNESMITH_REPORT_FD; without it they go to
RUN_DIR/reports.jsonl, so a trainer can be run by hand. A directory belongs to one epoch of one job,
so a trainer whose lease was lost can never write into its successor's directory.
"""

from enum import IntEnum, StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.core.jobs.spec import JobSpec

REPORT_FD_VARIABLE = "TUNESMITH_REPORT_FD"
MAX_REPORT_BYTES = 8192
"""Limit of one report line; the trainer truncates the `data` values of a longer one."""


class ExitCode(IntEnum):
    """Exit statuses of a trainer; any other is a crash."""

    OK = 0
    USER = 10
    DATA = 11
    OOM_GPU = 20
    OOM_HOST = 21
    INFRA = 30
    DRAINED = 40
    CANCELLED = 41
    DEADLINE = 42
    """Stopped at the time limit, with a checkpoint committed by this attempt or an earlier one."""


class StopReason(StrEnum):
    CANCEL = "cancel"
    """Stop without a checkpoint; exit CANCELLED."""
    DRAIN = "drain"
    """Commit a checkpoint, then stop; exit DRAINED."""
    DEADLINE = "deadline"
    """Commit a checkpoint, then stop; exit DEADLINE. Where nothing has been trained, exit USER with
    code `deadline_exceeded`."""


class Base(BaseModel):
    """The base model's folder on this machine, and its public name."""

    model_config = ConfigDict(frozen=True)

    path: str
    id: str
    revision: str | None = None
    hub_id: str | None = None
    """Repository that a local folder declares to be a copy of."""
    hub_revision: str | None = None

    @property
    def public_id(self) -> str | None:
        """Name of the base on the hub; None for a folder that declares none."""
        # An id of the hub has a slash; a local base is named by its folder.
        return self.id if "/" in self.id else self.hub_id

    @property
    def public_revision(self) -> str | None:
        return self.revision if "/" in self.id else self.hub_revision


class RowsFile(BaseModel):
    """Canonical rows (`app.core.datasets.formats.Row`), one JSON object a line."""

    model_config = ConfigDict(frozen=True)

    path: str
    dataset: str
    sha256: str
    """SHA-256 of the uploaded bytes."""
    num_rows: int
    num_invalid: int = 0
    """Rows of the upload that are not among them, because they are invalid."""
    license: str | None = None
    """The licence stated by the source of the import."""


class FrozenTemplate(BaseModel):
    """A template as it was when the run directory was created."""

    model_config = ConfigDict(frozen=True)

    name: str
    text: str | None = None
    """Jinja over messages; None for `text`, and for `chat`, which uses the base model's own."""
    sha256: str | None = None
    """SHA-256 of `text`."""
    special_tokens: list[str] = Field(default_factory=list)
    """Strings the template renders that should be a single token each."""


class Plan(BaseModel):
    """Everything a trainer needs to know. Contains no secrets."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    job_id: str
    attempt: int = 1
    epoch: int = 1
    spec: JobSpec
    """The resolved spec: every field filled in."""
    base: Base
    template: FrozenTemplate | None = None
    """None in a plan written by hand: the built-in template that `spec.template` names."""
    rows: RowsFile
    validation_rows: RowsFile | None = None
    """Set exactly when `spec.validation.dataset` is."""
    device: str = "auto"
    resume_from: list[str] = Field(default_factory=list)
    """`checkpoints` folders of earlier epochs; the run resumes from the newest committed checkpoint
    that passes verification.
    """
    stall_seconds: float | None = None
    publish_only: bool = False
    """The time limit has passed: publish an adapter from the newest checkpoint, of this run
    directory or of `resume_from`, and train no further."""


ReportType = Literal[
    "phase", "progress", "metrics", "eval", "sample", "checkpoint",
    "warning", "error", "artifact", "heartbeat",
]  # fmt: skip


class Report(BaseModel):
    """One line from the trainer. `data` by type:

    phase       {phase: starting | preparing | training | evaluating | finalizing}
    progress    {step, max_steps, epoch, fraction, tokens_seen, tokens_per_second, eta_seconds}
    metrics     {step, values: {name: number}}
    eval        {step, values: {valid_loss, valid_mean_token_accuracy}}
    sample      {step, prompt, base, adapter}
    checkpoint  {step, epoch, bytes, metrics, best, path}; sent after its COMMIT.json is durable
    warning     {code, hint, pointer}
    error       a `FailureReport`; the last line of a run that failed
    artifact    {trained_tokens, step, chosen: best | last, stopped_by: early_stopping | deadline |
                null, files: [{path, bytes, sha256, kind}], environment}; the last line of a run
                that succeeded
    heartbeat   {}; every few seconds, from a separate thread
    """

    type: ReportType
    message: str = ""
    level: Literal["info", "warning", "error"] = "info"
    data: dict[str, Any] = Field(default_factory=dict)
