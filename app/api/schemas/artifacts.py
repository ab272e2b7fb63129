"""Artifacts, metrics and logs as callers see them."""

from app.api.schemas.base import Answer


class FileOut(Answer):
    """One file that a succeeded job published."""

    path: str
    """Name of the file, as GET /jobs/{job_id}/artifacts/{path} takes it."""
    bytes: int
    """Size in bytes."""
    sha256: str
    """SHA-256 of the content, in hexadecimal; also the `ETag` of its download."""
    kind: str
    """What the file holds: `adapter` (the weights), `config` (of the adapter), `tokenizer`,
    `template`, `card` (the model card), `training` (arguments and trainer state), `metrics` or
    `manifest`."""


class ArchiveOut(Answer):
    """The zip archive of an adapter."""

    bytes: int
    """Size of the archive in bytes."""
    sha256: str
    """SHA-256 of the archive, in hexadecimal; also the `ETag` of its download."""


class ManifestOut(Answer):
    """Every file that a succeeded job published, with its size and hash."""

    job: str
    """Id of the job."""
    files: list[FileOut]
    """Published files, the manifest last."""
    adapter: ArchiveOut | None
    """Archive at GET /jobs/{job_id}/adapter that holds all the files; null where none was made."""


class SeriesOut(Answer):
    """One metric over the optimizer steps: `values[i]` was measured at `steps[i]`."""

    steps: list[int]
    """Optimizer steps, rising."""
    values: list[float]
    """Values of the metric at those steps. A value that is not finite is left out with its
    step."""


class MetricsOut(Answer):
    """The metrics that a job has logged."""

    job: str
    """Id of the job."""
    series: dict[str, SeriesOut]
    """Series by metric: `train_loss`, `train_mean_token_accuracy`, `learning_rate`, `grad_norm`,
    `entropy`, `epoch`, `num_tokens`, `tokens_per_second`, `device_memory_peak_bytes`, `valid_loss`
    and `valid_mean_token_accuracy`, as far as they were logged. A requested metric that was never
    logged is an empty series."""
    max_points: int | None
    """Requested limit on the points of a series; null for all points. A longer series keeps
    its first and last point and, of each stretch between them, the lowest and the highest
    value."""


class LogPart(Answer):
    """What the trainer of one attempt printed."""

    attempt: int
    """Number of the attempt, from 1."""
    lines: list[str]
    """Lines of output, oldest first, without line ends."""


class LogsOut(Answer):
    """The last lines that the trainers of a job printed."""

    data: list[LogPart]
    """Output by attempt, oldest first. `tail` counts lines over all attempts: earlier ones may be
    missing."""
