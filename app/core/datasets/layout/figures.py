"""A layout in figures: what the trainer does with rows, in a form that can be stored."""

from pydantic import BaseModel, ConfigDict

from app.core.jobs.failures import FailureReport
from app.core.jobs.spec import JobSpec

VERSION = 2
"""Incremented when the layout of the same rows changes."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Numbered(Frozen):
    count: int = 0
    first: list[int] = []
    """0-based numbers of the first ten rows."""


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
    """Sequences: one per row, or what the rows were packed into."""
    widest: int
    """Tokens of the longest sequence."""
    widths: list[int]
    """Lengths of sequences, ascending: at most 33, evenly spaced by rank."""


class LayoutFigures(Frozen):
    train: Part
    held_out: Part | None
    truncated: Numbered
    eos_lost: Numbered
    dropped: Numbered
    split: Numbered
    unlike_prompt: Numbered
    hidden: dict[str, Numbered] = {}
    """Rows of which the template leaves something out, by `tokens.hidden`'s name of what it is."""
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
    marks: list[str] = []
    """Texts that the template expects to be single tokens."""


class Answer(Frozen):
    """Result of the child process that computes a layout."""

    laid: LayoutFigures | None = None
    copies: Copies | None = None
    missing_marks: list[str] = []
    refusal: FailureReport | None = None
    """What the job would fail with before its base model is loaded."""
