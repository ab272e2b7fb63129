"""The border between supervisor and trainer: a run directory in, report lines and named files out.

    RUN_DIR/plan.json                 a `Plan`, written by the supervisor (or by hand)
    RUN_DIR/stop                      appears when the trainer should stop; holds a `StopReason`
    RUN_DIR/trainer.log               what the trainer printed, written by the supervisor
    RUN_DIR/metrics.jsonl             one {"step", "values"} per logged step, by the trainer
    RUN_DIR/checkpoints/checkpoint-N  the Trainer's own, counted only with a valid COMMIT.json
    RUN_DIR/artifact/                 the named files and, last, manifest.json

Reports are JSON lines on the file descriptor named by TUNESMITH_REPORT_FD; without it they go to
RUN_DIR/reports.jsonl, so a run can be made by hand. A directory belongs to one epoch of one job,
so a trainer that has lost its lease can never write into its successor's.
"""

from enum import IntEnum, StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.core.jobs.spec import JobSpec

REPORT_FD_VARIABLE = "TUNESMITH_REPORT_FD"
MAX_REPORT_BYTES = 8192
"""Of one report line; a longer one has its `data` values cut by the trainer."""


class ExitCode(IntEnum):
    """What a trainer's exit status says; any other is a crash."""

    OK = 0
    USER = 10
    DATA = 11
    OOM_GPU = 20
    OOM_HOST = 21
    INFRA = 30
    DRAINED = 40
    CANCELLED = 41


class StopReason(StrEnum):
    CANCEL = "cancel"
    """Stop without a checkpoint; exit CANCELLED."""
    DRAIN = "drain"
    """Commit a checkpoint, then stop; exit DRAINED."""
    DEADLINE = "deadline"
    """Commit a checkpoint, then stop; exit USER with code `deadline_exceeded`."""


class Base(BaseModel):
    """The base model as it lies on this machine, and the public name it goes by."""

    model_config = ConfigDict(frozen=True)

    path: str
    id: str
    revision: str | None = None


class RowsFile(BaseModel):
    """Canonical rows (`app.core.datasets.formats.Row`), one JSON object a line."""

    model_config = ConfigDict(frozen=True)

    path: str
    dataset: str
    sha256: str
    """Of the bytes that were uploaded."""
    num_rows: int
    license: str | None = None
    """As the place it was imported from states it."""


class FrozenTemplate(BaseModel):
    """A template as it was when the run directory was laid out."""

    model_config = ConfigDict(frozen=True)

    name: str
    text: str | None = None
    """Jinja over messages; None for `text`, and for `chat`, whose text the base has."""
    sha256: str | None = None
    """Of the text."""
    special_tokens: list[str] = Field(default_factory=list)
    """That it writes and expects to be one token each."""


class Plan(BaseModel):
    """Everything a trainer needs to know. Holds no secret."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    job_id: str
    attempt: int = 1
    epoch: int = 1
    spec: JobSpec
    """Resolved."""
    base: Base
    template: FrozenTemplate | None = None
    """None in a plan made by hand: the one of ours that `spec.template` names."""
    rows: RowsFile
    validation_rows: RowsFile | None = None
    """Set exactly when `spec.validation.dataset` is."""
    device: str = "auto"
    resume_from: list[str] = Field(default_factory=list)
    """`checkpoints` folders of earlier epochs; the newest committed one that verifies goes on."""
    stall_seconds: float | None = None


class FailureReport(BaseModel):
    """Why a job ended without an adapter, and what to do about it."""

    model_config = ConfigDict(populate_by_name=True, use_attribute_docstrings=True)

    class_: Literal["user", "system", "capacity"] = Field(alias="class")
    """What the cause is: `user` the data or the spec, `system` the machine or the service,
    `capacity` too little memory."""
    code: str
    """Stable identifier in snake_case, for programs to act on. The documentation lists them all
    (errors.md)."""
    message: str
    """What went wrong, in a sentence for a person. The wording may change."""
    evidence: str = ""
    """The line, number or end of a traceback that shows it; the empty string where there is
    none."""
    hint: str = ""
    """What to do about it, for a person; the empty string where nothing is known."""
    retryable: bool = False
    """Whether the same spec may succeed when it is tried again, because the cause was the
    machine."""
    suggested_patch: dict[str, Any] | None = None
    """Changes that should make the job work, nested like a spec, for example
    `{"training": {"max_length": 128}}`, to be merged into the job's spec. Null where none is
    known."""


ReportType = Literal[
    "phase", "progress", "metrics", "eval", "sample", "checkpoint",
    "warning", "error", "artifact", "heartbeat",
]  # fmt: skip


class Report(BaseModel):
    """One line from the trainer. `data` by type:

    phase       {phase: preparing | training | evaluating | finalizing}
    progress    {step, max_steps, epoch, fraction, tokens_seen, tokens_per_second, eta_seconds}
    metrics     {step, values: {name: number}}
    eval        {step, values: {valid_loss, valid_mean_token_accuracy}}
    sample      {step, prompt, base, adapter}
    checkpoint  {step, epoch, bytes, metrics, best, path}; sent after its COMMIT.json is durable
    warning     {code, hint, pointer}
    error       a `FailureReport`; the last line of a run that failed
    artifact    {trained_tokens, files: [{path, bytes, sha256, kind}], environment}; the last line
                of a run that succeeded
    heartbeat   {}; every few seconds, from a thread of its own
    """

    type: ReportType
    message: str = ""
    level: Literal["info", "warning", "error"] = "info"
    data: dict[str, Any] = Field(default_factory=dict)
