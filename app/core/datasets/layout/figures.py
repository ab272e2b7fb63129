"""A layout in figures: what the trainer does with rows, in a form that can be kept."""

from pydantic import BaseModel, ConfigDict

from app.core.jobs.failures import FailureReport
from app.core.jobs.spec import JobSpec

VERSION = 2
"""Raised when the same rows would be laid out otherwise."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Numbered(Frozen):
    count: int = 0
    first: list[int] = []
    """Row numbers, from 0, of the first ten."""


class Part(Frozen):
    """The rows that are trained, or those held out."""

    rows: int
    trained_rows: int
    """Without those dropped."""
    tokens: int
    """The model sees in one pass over it."""
    trained_tokens: int
    """Of those, with a label."""
    sequences: int
    """Rows, or what they were packed into."""
    widest: int
    """Tokens of the longest sequence."""
    widths: list[int]
    """Of sequences, from the shortest to the longest: at most 33, evenly spaced in rank."""


class LayoutFigures(Frozen):
    train: Part
    held_out: Part | None
    truncated: Numbered
    eos_lost: Numbered
    dropped: Numbered
    split: Numbered
    unlike_prompt: Numbered
    tokens_lost: int
    """Of the rows to be trained, in one pass."""


class Copies(Frozen):
    """Rows that are there twice."""

    rows: int
    duplicates: int
    """Rows that another one before them equals."""
    held_out_rows: int = 0
    shared: int = 0
    """Held-out rows that are trained as well."""
    shared_prompts: int = 0
    """Held-out rows whose prompt is trained, with this answer or another."""


class FiguresRequest(Frozen):
    """What a layout's child is asked for."""

    spec: JobSpec
    """Resolved."""
    chat_template: str | None = None
    """Of a named template, in place of the base's own."""
    marks: list[str] = []
    """That the template expects to be one token each."""


class Answer(Frozen):
    """What a layout's child found."""

    laid: LayoutFigures | None = None
    copies: Copies | None = None
    missing_marks: list[str] = []
    refusal: FailureReport | None = None
    """What the job would fail with, before its base is loaded."""
