"""The plan of a job: what a dry run answers."""

from app.api.schemas.base import Answer, FieldProblem
from app.core.estimates.devices import Verdict
from app.core.estimates.precision import Device
from app.core.jobs.spec import JobSpec


class PlannedRows(Answer):
    """Counts are of one pass; null is not known before the base's files are here."""

    id: str
    rows: int
    """That can be trained on, held-out ones included."""
    skipped_rows: int
    """That cannot be, and are left out."""
    trained_rows: int | None = None
    tokens: int | None = None
    """The model sees."""
    trained_tokens: int | None = None
    """Of those, with a label."""
    truncated_rows: int | None = None
    dropped_rows: int | None = None
    eos_lost_rows: int | None = None
    split_rows: int | None = None
    unlike_prompt_rows: int | None = None
    duplicate_rows: int | None = None
    tokens_lost: int | None = None
    sequences: int | None = None
    packed_sequences: int | None = None
    """Null without packing."""
    widest_sequence: int | None = None
    widest_batch_tokens: int | None = None


class PlannedValidation(Answer):
    id: str | None
    """Null where a share of the rows is held out."""
    rows: int | None
    measured_rows: int | None
    tokens: int | None
    trained_tokens: int | None
    sequences: int | None
    overlap_rows: int | None
    """That are trained as well."""
    overlap_prompts: int | None
    """Whose prompt is trained, with this answer or another."""


class PlannedMemory(Answer):
    """Bytes at the peak, on the kind of device that the server's workers have."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    rows: int
    proof: int
    runtime: int
    device: Device
    peak_bytes: int
    fits: dict[str, Verdict]
    """By class of device."""


class PlannedTime(Answer):
    estimate: float | None
    """Seconds from start to end."""
    basis: str


class PlanOut(Answer):
    spec: JobSpec
    """Resolved: every number filled in."""
    dataset: PlannedRows
    validation: PlannedValidation | None
    steps: int | None
    """Optimizer steps; fewer when training stops early."""
    steps_per_epoch: int | None
    memory: PlannedMemory | None
    disk_bytes: int | None
    """Left on the disk of the worker while it runs, at most."""
    seconds: PlannedTime
    warnings: list[FieldProblem]
