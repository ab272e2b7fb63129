"""What validation found in a dataset, and how much two datasets share, as callers see it."""

from typing import Literal

from app.api.schemas.base import Answer, Anything


class ReportProblem(Answer):
    """One thing that validation found in a dataset."""

    row: int | None
    """Number of the row, counted from 0 over all rows of the dataset, invalid ones included. Null
    where the problem is not about one row."""
    line: int | None
    """Line of the file on which the row starts, counted from 1; for a syntax error the line of the
    error, in Parquet the number of the row. Null where no line applies."""
    pointer: str
    """JSON pointer `/<row>/<column>`, as if the dataset were one JSON array in every format. The
    empty string is the dataset as a whole."""
    code: str
    """Stable identifier in snake_case, for programs to act on. The documentation lists them all
    (dataset-report.md)."""
    severity: Literal["error", "warning", "info"]
    """`error`: the dataset is invalid, and the row is not trained on. `warning` and `info` change
    neither."""
    message: str
    """What was found, in one sentence for a person. The wording may change."""
    hint: str
    """What to do about it, in one sentence for a person."""
    snippet: str
    """The data in question, escaped and cut to 200 characters; the empty string where there is
    none to show."""
    file: str | None = None
    """Name of the file in a dataset of several files; null where there is only one."""


class NumberedProblem(ReportProblem):
    """One thing that validation found in a dataset, with its place in the list."""

    n: int
    """Place in the list, to be passed as `after` for the entries that follow. It rises from entry
    to entry, with gaps."""


class ProblemsOut(Answer):
    """A page of everything that validation found in a dataset."""

    data: list[NumberedProblem]
    """Problems in the order of the file."""
    has_more: bool
    """Whether `limit` left entries out: pass the `n` of the last one as `after` for the next
    page."""


class StoredProblems(Answer):
    """What the list at GET /datasets/{dataset_id}/problems holds."""

    count: int
    """Number of entries in the list."""
    complete: bool
    """Whether every problem is in the list. Past 1 GiB it is cut, and ends in an entry
    `problems_truncated`."""


class AsUploaded(Answer):
    """The uploaded data with all of its columns, as the `datasets` library would load it."""

    features: dict[str, str]
    """Type of each column, as the `datasets` library prints it, for example `Value('string')`."""
    num_rows: int
    """Number of rows, invalid ones included."""
    printed: str
    """What `print(dataset)` shows in Python."""


class Duplicates(Answer):
    """Rows that are exact copies of an earlier row. Compared are the valid rows, up to about 1.5
    million different ones."""

    exact: int
    """Number of rows that are copies of an earlier one."""
    examples: list[tuple[int, int]]
    """First ten copies, each as [row, its copy], counted from 0 over all rows of the dataset."""


class SharedRows(Answer):
    """Rows of another dataset that occur in this one."""

    rows: int
    """Number of rows of the other dataset that occur in this one."""
    share: float
    """Share of the other dataset's rows that this is, from 0 to 1."""
    examples: list[tuple[int, int]]
    """First 20 of them, each as [row of this dataset, row of the other], counted from 0 over the
    valid rows, as GET /datasets/{dataset_id}/rows does."""


class OverlapOut(Answer):
    """How much of another dataset occurs in this one. Only texts are compared: which answers of a
    conversation are trained makes no difference."""

    dataset: str
    """Id of this dataset, usually the one to be trained on."""
    other: str
    """Id of the other dataset, usually the one to be held out."""
    num_rows: int
    """Number of valid rows in the other dataset."""
    exact: SharedRows
    """Rows of the other dataset that occur in this one word for word."""
    same_prompt: SharedRows
    """Rows of the other dataset whose prompt occurs in this one, with the same answer or another;
    those of `exact` are among them. Rows of plain `text` have no prompt and never count."""


class ReportOut(Answer):
    """What validation found in a dataset. Counts are complete; the list of problems is capped."""

    status: Literal["ready", "invalid"]
    """`invalid` if at least one problem is an error, else `ready`."""
    format: str
    """File format as detected: `json`, `jsonl`, `csv` or `parquet`. Of a file that is refused the
    name of its own format, or `unknown`."""
    detected: str
    """How the file format was detected, in one sentence for a person."""
    row_format: str | None
    """Layout of the rows: `alpaca`, `prompt_completion`, `messages`, `sharegpt` or `text`; null
    where no row shows one."""
    row_format_reason: str
    """How the layout of the rows was detected, in one sentence for a person."""
    num_rows: int
    """Number of rows in the data, invalid ones included."""
    num_valid_rows: int
    """Number of rows that can be trained on."""
    problems: list[ReportProblem]
    """First problems in the order of the file: at most 800 errors, 100 warnings and 100 infos; an
    info is listed once for each column."""
    problem_counts: dict[str, int]
    """Number of problems by code, those that are not listed included."""
    problems_truncated: bool
    """Whether `problems` lacks some; GET /datasets/{dataset_id}/problems has them all."""
    problems_stored: StoredProblems | None = None
    """Size of the full list at GET /datasets/{dataset_id}/problems. Null for a dataset that was
    validated before there was such a list."""
    duplicates: Duplicates
    """Rows that are exact copies of an earlier one."""
    lengths: dict[str, dict[str, float]]
    """Length in characters of each text column: `min`, `max`, `mean`, `p50`, `p90` and `p99`. Where
    rows have no column `text`, `text` is the row in the `alpaca` template, prompt and answer."""
    features: dict[str, str]
    """Type of each column of the valid rows in canonical form, as the `datasets` library prints
    it."""
    as_uploaded: AsUploaded | None = None
    """The data as it was uploaded, with the columns that are not trained. Null where the rows could
    not be read."""
    templates: list[str]
    """Kinds of template that fit every valid row: `alpaca` and `chat`, or `text`; for
    rows with tool calls `chat` alone. A template that GET /templates lists beside these needs the
    same columns as `chat`."""
    first_rows: list[Anything]
    """First five valid rows in canonical form; texts are cut to 2,000 characters."""
    overlap: OverlapOut | None = None
    """How much of the dataset named by `validation` occurs in this one; null where none was
    named."""
