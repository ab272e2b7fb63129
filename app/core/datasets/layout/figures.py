"""A layout in figures: what the trainer does with rows, in a form that can be stored."""

from pydantic import BaseModel, ConfigDict

from app.core.datasets.layout.long_rows import LongRows
from app.core.jobs.failures import FailureReport
from app.core.jobs.spec import JobSpec

VERSION = 6
"""Incremented when the layout of the same rows changes."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Numbered(Frozen):
    count: int = 0
    first: list[int] = []
    """0-based numbers of the first ten rows."""


class LongRowCost(Frozen):
    """What an `on_long_row` loses of the rows longer than `max_length`."""

    tokens_lost: int
    """Number of tokens that are not trained on."""
    trained_tokens_lost: int
    """Number of those tokens that would count in the loss."""
    eos_lost_rows: int
    """Number of rows that are trained on without their end-of-sequence token."""


class Part(Frozen):
    """The rows that are trained on, or those held out."""

    rows: int
    trained_rows: int
    """Rows that are not dropped."""
    tokens: int
    """Tokens that the model sees in one pass over the part."""
    trained_tokens: int
    """Tokens that have a label."""
    sequences: int
    """Sequences of one pass in a random order: packs of a batch's rows, or one per row or piece."""
    padded_tokens: int
    """Tokens of these sequences, each batch padded to its longest."""
    widest: int
    """Tokens of the longest sequence."""
    batch_sequences: int
    """Sequences of the batch of the longest rows, at most one per row."""
    batch_width: int
    """Tokens of its longest sequence."""


class LayoutFigures(Frozen):
    train: Part
    held_out: Part | None
    truncated: Numbered
    eos_lost: Numbered
    dropped: Numbered
    long_prompts: Numbered = Numbered()
    """Those of the dropped rows whose prompt alone fills `max_length`."""
    keeping_length: int | None = None
    """The `max_length` that would keep them, if the base model takes it."""
    refused: Numbered = Numbered()
    """Rows that the chat template refuses."""
    refusal: str = ""
    """Why it refuses the first of them."""
    long_rows: Numbered = Numbered()
    """Rows longer than `max_length` whose prompt fits."""
    long_row_costs: dict[LongRows, LongRowCost] = {}
    """What each `on_long_row` would lose of them."""
    too_long: Numbered = Numbered()
    """Those of them that are left out."""
    split: Numbered
    unlike_prompt: Numbered
    hidden: dict[str, Numbered] = {}
    """Rows of which the template leaves something out, by `tokens.hidden`'s name of what it is."""
    answers: int = 0
    """Answers of the training rows that are to be trained."""
    answers_not_found: int = 0
    """Those of them that are not trained, because the template tells them otherwise."""
    not_found: Numbered = Numbered()
    """Rows with such answers."""
    tokens_lost: int
    """Tokens of the training rows that are lost in one pass."""


class Copies(Frozen):
    """Duplicate rows."""

    rows: int
    duplicates: int
    """Rows that are equal to an earlier one."""
    held_out_rows: int = 0
    shared: int = 0
    """Held-out rows that are also trained on."""
    shared_prompts: int = 0
    """Held-out rows whose prompt is also trained on, with the same answer or another."""


class FiguresRequest(Frozen):
    """Request to the child process that computes a layout."""

    spec: JobSpec
    """The resolved spec."""
    chat_template: str | None = None
    """Chat template of a named template, in place of the base model's own."""
    invalid: tuple[int, int] = (0, 0)
    """Rows of the dataset, and of the one held out, that were left out as invalid."""
    marks: list[str] = []
    """Texts that the template expects to be single tokens."""


class Answer(Frozen):
    """Result of the child process that computes a layout."""

    laid: LayoutFigures | None = None
    copies: Copies | None = None
    missing_marks: list[str] = []
    refusal: FailureReport | None = None
    """What the job would fail with before its base model is loaded."""
