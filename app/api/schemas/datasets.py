"""A dataset as callers see it."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from app.api.schemas.base import Answer, Anything, Moment
from app.api.schemas.imports import SourceOut
from app.core.datasets.formats import COLUMNS


def _in_order(features: dict[str, Any]) -> dict[str, Any]:
    """As rows have them: JSONB keeps keys by their length."""
    return {name: features[name] for name in COLUMNS if name in features} | features


class Progress(Answer):
    fraction: float
    """Of the bytes that were uploaded."""
    rows: int


class DatasetOut(Answer):
    id: str
    name: str
    status: Literal["validating", "ready", "invalid"]
    format: str
    row_format: str | None
    """`alpaca`, `prompt_completion`, `messages`, `sharegpt` or `text`; null until it is told."""
    columns: dict[str, str] | None
    """As sent with the upload: our column to the upload's."""
    num_rows: int | None
    num_valid_rows: int | None
    num_bytes: int
    sha256: str | None
    """Of all bytes; of an import's files one after another, null until they are here."""
    source: SourceOut | None
    """Of an import."""
    features: Annotated[Anything, AfterValidator(_in_order)] | None
    progress: Progress | None
    """While it is validated, once the check has run for a second."""
    created_at: Moment


class RowsOut(Answer):
    """Rows as they were stored after validation."""

    data: list[Anything]
    offset: int
    num_rows: int
    """Of those there are to read: the valid ones."""
    has_more: bool


class ReportProblem(Answer):
    row: int | None
    """From 0; null where it is not about one row."""
    line: int | None
    """From 1, where the row starts."""
    pointer: str
    """`/<row>/<field>` as if the file were one JSON array; "" is the file."""
    code: str
    severity: Literal["error", "warning", "info"]
    message: str
    hint: str
    snippet: str
    file: str | None = None
    """Its name where the dataset has several; `line` counts in it, `row` goes on through all."""


class NumberedProblem(ReportProblem):
    n: int
    """Where it stands in the list: grows, with gaps; `after` goes on behind it."""


class ProblemsOut(Answer):
    data: list[NumberedProblem]
    has_more: bool


class StoredProblems(Answer):
    count: int
    complete: bool
    """Else the list ends in an entry `problems_truncated`."""


class AsUploaded(Answer):
    """The rows that could be read, as the `datasets` library would tell them."""

    features: dict[str, str]
    num_rows: int
    printed: str
    """What it prints of the dataset."""


class Duplicates(Answer):
    exact: int
    examples: list[tuple[int, int]]
    """Row and its copy."""


class SharedRows(Answer):
    rows: int
    """Of the other dataset, that stand in this one."""
    share: float
    examples: list[tuple[int, int]]
    """[row of this one, row of the other], counted from 0 as GET /rows does; the first 20."""


class OverlapOut(Answer):
    """What of another dataset stands in this one, by its texts."""

    dataset: str
    other: str
    num_rows: int
    """Of the other."""
    exact: SharedRows
    same_prompt: SharedRows
    """Whatever the answer: the exact ones are among them. Rows of `text` have no prompt."""


class ReportOut(Answer):
    """Everything the validator found; counts are complete, the list is capped."""

    status: Literal["ready", "invalid"]
    format: str
    detected: str
    """How the format was told."""
    row_format: str | None
    """Null where no row could be read."""
    row_format_reason: str
    num_rows: int
    num_valid_rows: int
    problems: list[ReportProblem]
    problem_counts: dict[str, int]
    problems_truncated: bool
    """Of this list; GET /datasets/{id}/problems has the whole."""
    problems_stored: StoredProblems | None = None
    """What that list has; null where it was not made yet when the dataset was validated."""
    duplicates: Duplicates
    lengths: dict[str, dict[str, float]]
    """By column, in characters: min, max, mean, p50, p90, p99."""
    features: dict[str, str]
    """Of the rows as they are trained."""
    as_uploaded: AsUploaded | None = None
    templates: list[str]
    """Those that every good row can be rendered with."""
    first_rows: list[Anything]
    overlap: OverlapOut | None = None
    """Only where `validation` was asked about."""


class Histogram(Answer):
    edges: list[int]
    """One more than `counts`; a bin holds its lower edge and not its upper."""
    counts: list[int]


class Distribution(Answer):
    """`min`, `max`, `mean` and the percentiles are null where there is no row."""

    total: int
    min: int | None = None
    max: int | None = None
    mean: float | None = None
    p50: int | None = None
    p90: int | None = None
    p95: int | None = None
    p99: int | None = None
    over: int
    """Rows longer than `max_length`, in this unit."""
    share_over: float
    histogram: Histogram


class Loss(Answer):
    rows: int
    """Longer than `max_length`, and so cut or split."""
    dropped_rows: int
    """Whose prompt alone fills `max_length`: nothing of them is trained."""
    eos_lost_rows: int
    """That no longer teach when to stop."""
    tokens_lost: int


class Token(Answer):
    id: int
    text: str
    """What it adds to the text: a character of several tokens stands with the last of them."""
    trained: bool
    """Whether the loss counts it."""


class EndOut(Answer):
    """The end-of-sequence token, which teaches to stop."""

    present: bool
    trained: bool
    lost: bool
    """To `max_length`."""


class CutOut(Answer):
    num_tokens: int
    text: str


class PieceOut(Answer):
    num_tokens: int
    num_trained: int
    """0: the piece is left out."""


class PreviewRow(Answer):
    row: int
    """From 0, as GET /datasets/{id}/rows counts."""
    text: str
    """As the template renders it, as far as the last answer that is trained."""
    num_tokens: int
    num_trained: int
    eos: EndOut
    dropped: bool
    """Nothing of it is trained: its prompt alone fills `max_length`, or no answer has a weight."""
    truncated: CutOut | None
    """With `packing: false`: what stands behind `max_length`."""
    pieces: list[PieceOut]
    """With `packing: true`: what a long row is split into, in the order of its tokens; the first
    1,000.
    """
    num_pieces: int
    unlike_prompt: bool
    """The chat template's prompt for an answer is not how its rendered chat goes on."""
    tokens: list[Token]
    """The first of them, where an answer would have more than 50,000; `num_tokens` counts all."""


class PreviewOut(Answer):
    """Rows as the trainer will see them, by the code that makes its batches."""

    dataset: str
    model: str
    template: str
    train_on: Literal["completion", "all"]
    max_length: int
    packing: bool
    spelled_out: list[str]
    """Marks of the template that this model does not know as one token each."""
    num_rows: int
    """Of those there are to look at: the valid ones."""
    has_more: bool
    data: list[PreviewRow]


class LengthsOut(Answer):
    """How long rows are, rendered by a template and counted by a model's tokenizer."""

    dataset: str
    model: str
    template: str
    num_rows: int
    max_length: int
    characters: Distribution
    tokens: Distribution
    """With special tokens and the closing EOS."""
    cut: Loss
    """What `max_length` does with `packing: false`."""
    split: Loss
    """What it does with `packing: true`."""
