"""The plan of a job: what a dry run answers."""

from app.api.schemas.base import Answer, FieldProblem
from app.core.estimates.devices import Verdict
from app.core.estimates.precision import Device
from app.core.jobs.spec import JobSpec


class LongRowCost(Answer):
    """What one value of `on_long_row` would lose of the rows longer than `max_length`."""

    tokens_lost: int
    """Number of tokens that would not be trained on."""
    trained_tokens_lost: int
    """Number of those tokens that count in the loss."""
    eos_lost_rows: int
    """Number of rows that would be trained on without their end-of-sequence token."""


class LongRowChoices(Answer):
    """What each value of `on_long_row` would lose of the rows longer than `max_length`."""

    split: LongRowCost
    """Splitting them: the first token of each further piece."""
    truncate: LongRowCost
    """Truncating them: what exceeds `max_length`, with the end-of-sequence token."""
    drop: LongRowCost
    """Leaving them out: all of them."""


class PlannedRows(Answer):
    """What training would make of the dataset: counts for one pass (epoch) over the rows that are
    trained on, unless said otherwise. What depends on the model is null until its files are on the
    server."""

    id: str
    """Id of the dataset."""
    rows: int
    """Number of valid rows, those held out for validation included."""
    skipped_rows: int
    """Number of invalid rows, which are left out (`on_invalid_row: "skip"`)."""
    trained_rows: int | None = None
    """Number of rows that are trained on: without those held out and those dropped."""
    tokens: int | None = None
    """Number of tokens that the model sees, without padding."""
    trained_tokens: int | None = None
    """Number of those tokens that count in the loss."""
    truncated_rows: int | None = None
    """Number of rows cut off at `max_length` (`on_long_row`)."""
    dropped_rows: int | None = None
    """Number of rows left out because their prompt alone fills `max_length` or none of their
    answers is trained."""
    long_prompt_rows: int | None = None
    """Number of those rows whose prompt alone fills `max_length` (`on_long_prompt`)."""
    refused_rows: int | None = None
    """Number of rows left out because the chat template refuses them (`on_invalid_row`)."""
    long_rows: int | None = None
    """Number of rows longer than `max_length` whose prompt fits, whatever becomes of them."""
    on_long_row: LongRowChoices | None = None
    """What each value of the job's `on_long_row` would lose of them."""
    too_long_rows: int | None = None
    """Number of those rows that are left out (`on_long_row: "drop"`)."""
    eos_lost_rows: int | None = None
    """Number of rows whose end-of-sequence token is cut off, so that they do not teach the model to
    stop."""
    split_rows: int | None = None
    """Number of rows longer than `max_length` that are split into pieces (`on_long_row`)."""
    unlike_prompt_rows: int | None = None
    """Number of rows whose chat template renders the prompt for an answer differently from how the
    rendered conversation goes on."""
    answers: int | None = None
    """Number of answers that are to be trained: several in a row of a conversation. With `train_on`
    `all`, 1 for each row."""
    untrained_answers: int | None = None
    """Number of those answers that are not trained, because the chat template writes them otherwise
    once the conversation goes on, or not at all."""
    duplicate_rows: int | None = None
    """Number of valid rows of the whole dataset that are exact copies of an earlier one."""
    tokens_lost: int | None = None
    """Number of tokens that are not trained on because of `max_length` or because their row is
    dropped."""
    sequences: int | None = None
    """Number of sequences that one pass takes in memory: packs of the rows of a batch or, without
    packing, rows. It depends on the order of the rows, which training draws: a few more or less."""
    packed_sequences: int | None = None
    """Number of sequences that the rows are packed into; null without packing."""
    widest_sequence: int | None = None
    """Tokens of the longest sequence."""
    widest_batch_tokens: int | None = None
    """Tokens of the largest batch on the device, padding included."""


class PlannedValidation(Answer):
    """What evaluation would measure on: the rows held out. What depends on the model is null until
    its files are on the server."""

    id: str | None
    """Id of the validation dataset; null where a share of the job's dataset is held out."""
    rows: int | None
    """Number of rows held out."""
    measured_rows: int | None
    """Number of those rows that have a token to measure the loss on within `max_length`."""
    tokens: int | None
    """Number of tokens in one evaluation, without padding."""
    trained_tokens: int | None
    """Number of those tokens that count in the loss."""
    sequences: int | None
    """Number of sequences in one evaluation: packs of rows or, without packing, rows."""
    overlap_rows: int | None
    """Number of held-out rows that are trained on as well, word for word."""
    overlap_prompts: int | None
    """Number of held-out rows whose prompt is trained on, with the same answer or another."""


class PlannedMemory(Answer):
    """Estimated peak memory of the trainer in bytes, on the kind of device that the server's
    workers have. The parts add up to `peak_bytes`."""

    weights: int
    """Weights of the frozen base model, in their precision or quantization."""
    adapter: int
    """Weights of the adapter: 4 bytes per trained parameter."""
    gradients: int
    """Gradients of the adapter: 4 bytes per trained parameter."""
    optimizer: int
    """State of the optimizer: 8 bytes per trained parameter for AdamW, a row and a column per
    matrix for Adafactor, nothing for SGD."""
    activations: int
    """What the backward pass needs, and what a layer takes while it is computed."""
    logits: int
    """Output of the model's head and its gradient, a tile at a time; 0 where a layer takes more
    than the loss does."""
    rows: int
    """Tokenized rows: 110 bytes per token of host memory; 0 for a GPU."""
    proof: int
    """How far reloading and comparing the adapter at the end exceeds training; mostly 0."""
    runtime: int
    """Python and its libraries, or the context of the GPU."""
    device: Device
    """Kind of device that the estimate is for."""
    peak_bytes: int
    """Peak memory in bytes: the sum of the parts."""
    fits: dict[str, Verdict]
    """Whether the job fits, by class of device: `yes`, also with the error that the estimate may
    have (15 % on a CPU, 10 % on a GPU, measured); `tight`, only without it; `no`."""


class PlannedLearningRate(Answer):
    """Learning rate of single optimizer steps; a warm-up begins with 0."""

    first: float
    """Learning rate of the first step."""
    highest: float
    """Highest learning rate of any step."""
    last: float
    """Learning rate of the last step; training that stops early ends before it."""


class PlannedTime(Answer):
    """Estimated duration of a job."""

    estimate: float | None
    """Seconds from the start of the job to its end, without waiting; null where nothing was
    measured to go by."""
    basis: str
    """What the estimate rests on, or why there is none, in one sentence for a person."""


class PlanOut(Answer):
    """What a job would do, take and warn of. What depends on the model is null until its files are
    on the server."""

    spec: JobSpec
    """Spec of the job with every default filled in."""
    dataset: PlannedRows
    """What training would make of the dataset."""
    validation: PlannedValidation | None
    """What evaluation would measure on; null for a job without validation."""
    steps: int | None
    """Optimizer steps of the whole job; fewer are done when training stops early."""
    steps_per_epoch: int | None
    """Optimizer steps of one pass over the rows."""
    rows_per_step: int | None
    """Number of rows that an optimizer step takes, packed or not: `per_device_train_batch_size`
    times `gradient_accumulation_steps`; the last step of a pass may take fewer."""
    learning_rate: PlannedLearningRate | None
    """Learning rate over the steps."""
    memory: PlannedMemory | None
    """Estimated peak memory; null where it cannot be estimated, for example for an architecture
    that is not known."""
    disk_bytes: int | None
    """Most that the job takes on the worker's disk while it runs, in bytes: checkpoints, artifact,
    rows, model files to be fetched, log."""
    seconds: PlannedTime
    """Estimated duration."""
    warnings: list[FieldProblem]
    """What is unwise or may go wrong; the job gives the same warnings when it starts."""
