"""A dataset as callers see it."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from app.api.schemas.base import Answer, Anything, Moment
from app.api.schemas.imports import SourceOut
from app.core.datasets.formats import CANONICAL


def _in_order(features: dict[str, Any]) -> dict[str, Any]:
    """As rows have them: JSONB keeps keys by their length."""
    return {name: features[name] for name in CANONICAL if name in features} | features


class Progress(Answer):
    """How far the validation of a dataset is."""

    fraction: float
    """Share of the bytes that was read, from 0 to 1."""
    rows: int
    """Number of rows read so far."""


class DatasetOut(Answer):
    """A dataset: its files, and what validating them found."""

    id: str
    """Identifier of the dataset: `ds_` and 32 hexadecimal digits. Ids sort by creation time."""
    name: str
    """Name for people: the `name` given, else the name of the uploaded file, or of the imported
    repository. Names need not be unique."""
    status: Literal["validating", "ready", "invalid"]
    """`validating` until every row was read; then `ready`, or `invalid` if the report holds an
    error. A job can still train on the valid rows of an invalid dataset: see `on_invalid_row`."""
    format: str
    """File format: while validating as declared (`auto` if it was not), then as detected: `json`,
    `jsonl`, `csv` or `parquet`. Of a file that is refused the name of its own format, or
    `unknown`."""
    row_format: str | None
    """Layout of the rows: `alpaca`, `prompt_completion`, `messages`, `sharegpt` or `text`. Detected
    from the first rows; null while validating and where no row shows one."""
    columns: dict[str, str] | None
    """Column mapping that was sent with the data, from the canonical column to the file's. Null
    where none was sent."""
    num_rows: int | None
    """Number of rows in the data, invalid ones included; null while validating."""
    num_valid_rows: int | None
    """Number of rows that can be trained on; null while validating."""
    num_bytes: int
    """Size in bytes of the files as they were uploaded or imported, all together."""
    sha256: str | None
    """SHA-256 of the files in hexadecimal, those of an import one after another. Null until an
    import has been fetched."""
    source: SourceOut | None
    """Where the data was imported from; null for an upload."""
    features: Annotated[Anything, AfterValidator(_in_order)] | None
    """Type of each column of the valid rows, as the `datasets` library prints it, for example
    `Value('string')`. Null until validation has ended, and where it broke off."""
    progress: Progress | None
    """How far validation is; null before it begins, in its first second and once it has ended."""
    created_at: Moment
    """When the dataset was uploaded or its import requested, in UTC."""


class RowsOut(Answer):
    """A page of the valid rows of a dataset, in canonical form."""

    data: list[Anything]
    """Rows with the columns `instruction`, `input`, `output`, `system`, `history`, `weights` or
    `text`, `reasoning` (for each answer what comes before it, or an empty string) where the data
    has it, and `tools` where the row offers tools. A row with tool calls has `messages` and `tools`
    only: a message has `role`, `content`, and where given `tool_calls`, `tool_call_id`,
    `name`, `reasoning_content`, and `weight` 0 if it is not trained. A column that a row does not
    have is left out."""
    offset: int
    """Number of the first row in `data`, counted from 0 over the valid rows, as requested."""
    num_rows: int
    """Number of valid rows in the whole dataset."""
    has_more: bool
    """Whether valid rows follow: repeat the request with `offset` increased by the number of rows
    in `data`."""
