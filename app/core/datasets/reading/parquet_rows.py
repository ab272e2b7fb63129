"""Read the rows of a Parquet file one by one. The footer is not trusted: decoded data is measured
before it is converted to Python values, and reading stops if a file decodes to too much.

This module imports pyarrow, and is imported only in the validator's child process.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from app.core.datasets.reading.arrow_values import is_list, is_text, to_python, weigh
from app.core.datasets.reading.budget import Budget, Unreadable
from app.core.datasets.reading.parse import Fault
from app.core.datasets.reading.readers import Found, too_long

_BATCH = 64
"""Rows decoded at once: this many of the longest allowed rows fit into the child's memory."""
_DICTIONARY_BATCH = 1024
"""Rows decoded at once if a column has a dictionary, which comes whole with every batch."""
_AT_ONCE = 16 << 20
"""Estimated bytes of a batch above which its rows are converted one by one."""
_LEAST = 32
"""Fewest bytes counted per row: in JSON, the names of two canonical columns alone take more."""
_MAX_FOOTER = 16 << 20
_MAX_COLUMNS = 1_000
_MAX_DEPTH = 32
_TAIL = struct.Struct("<I4s")


def open_parquet(file: BinaryIO) -> pq.ParquetFile:
    """Open a file, reading only its footer. Raises Unreadable."""
    _check_footer(file)
    file.seek(0)
    with _parquet_errors():
        # A small buffer for column chunks: without one, each is read whole.
        opened = pq.ParquetFile(
            file,
            buffer_size=1 << 18,
            pre_buffer=False,
            memory_map=False,
            schema_depth_limit=_MAX_DEPTH,
            arrow_extensions_enabled=False,
        )
        names = opened.schema_arrow.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _invalid(f"It has two columns named {twice[0][:80]!a}.")
    return opened


def read_parquet(
    opened: pq.ParquetFile, max_chars: int, budget: Budget, known: frozenset[str]
) -> Iterator[Found]:
    """Yield the rows as objects. Columns that are not `known` are not decoded: they get an empty
    value of their type. Raises Unreadable after the last row that could be read.
    """
    _check_counts(opened.metadata, budget)
    reader = _Reader(opened.schema_arrow, known, max_chars, budget)
    count = 0
    for batch in reader.batches(opened):
        yield from reader.rows(batch, count)
        count += len(batch)
    if count != opened.metadata.num_rows:
        declared = opened.metadata.num_rows
        raise _invalid(f"Its footer declares {declared:,} rows, but it has {count:,}.")


class _Reader:
    def __init__(
        self, schema: pa.Schema, known: frozenset[str], max_chars: int, budget: Budget
    ) -> None:
        self._read = [field for field in schema if field.name in known]
        self._empty = {field.name: _empty(field.type) for field in schema}
        self._max_chars = max_chars
        self._budget = budget

    def batches(self, opened: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
        names = [field.name for field in self._read]
        is_dictionary = any(pa.types.is_dictionary(field.type) for field in self._read)
        size = _DICTIONARY_BATCH if is_dictionary else _BATCH
        batches = opened.iter_batches(size, columns=names, use_threads=False)
        while True:
            with _parquet_errors():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def rows(self, batch: pa.RecordBatch, count: int) -> Iterator[Found]:
        """Yield the rows of a batch. `count`: rows before it."""
        with _memory_errors():
            weight = self._weigh(batch)
            self._budget.spend(weight)
            found = self._take_at_once(batch, count) if weight <= _AT_ONCE else None
        if found is not None:
            yield from found
            return
        for at in range(len(batch)):
            with _memory_errors():
                row = self._take_one(batch.slice(at, 1), count + at)
            yield row

    def _weigh(self, batch: pa.RecordBatch) -> int:
        return _LEAST * len(batch) + sum(map(weigh, batch.columns))

    def _take_at_once(self, batch: pa.RecordBatch, count: int) -> list[Found] | None:
        """Convert a batch, or return None if a text is not UTF-8."""
        try:
            return self._take(batch, count)
        except UnicodeDecodeError:
            return None

    def _take_one(self, row: pa.RecordBatch, count: int) -> Found:
        # Four bytes per character, and ample room for what values count beside their text.
        if self._weigh(row) > 4 * self._max_chars + (1 << 20):
            return Found(count + 1, fault=too_long(self._max_chars))
        try:
            return self._take(row, count)[0]
        except UnicodeDecodeError:
            hint = "Write the column as UTF-8 strings."
            fault = Fault("not_utf8", "A text in this row is not UTF-8.", hint=hint)
            return Found(count + 1, fault=fault)

    def _take(self, batch: pa.RecordBatch, count: int) -> list[Found]:
        columns = [to_python(column) for column in batch.columns]
        rows = zip(*columns, strict=True) if columns else [()] * len(batch)
        names = [field.name for field in self._read]
        return [
            self._found(line, {**self._empty, **dict(zip(names, row, strict=True))})
            for line, row in enumerate(rows, count + 1)
        ]

    def _found(self, line: int, value: dict[str, Any]) -> Found:
        num_chars = _num_chars(value)
        if num_chars > self._max_chars:
            return Found(line, fault=too_long(self._max_chars))
        return Found(line, {k: _bare(v) for k, v in value.items()}, num_chars=num_chars)


def _bare(value: Any) -> Any:
    """Return a value without the nulls by which a struct says that a key is absent."""
    if isinstance(value, dict):
        return {key: _bare(each) for key, each in value.items() if each is not None}
    return [_bare(each) for each in value] if isinstance(value, list) else value


def _empty(kind: pa.DataType) -> Any:
    if is_text(kind):
        return ""
    return [] if is_list(kind) else None


def _num_chars(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(len, value)) + sum(map(_num_chars, value.values()))
    return sum(map(_num_chars, value)) if isinstance(value, list) else 0


def _check_footer(file: BinaryIO) -> None:
    size = file.seek(0, 2)
    file.seek(max(size - _TAIL.size, 0))
    length, mark = _TAIL.unpack(file.read(_TAIL.size).rjust(_TAIL.size, b"\0"))
    if mark == b"PARE":
        raise _encrypted()
    if mark != b"PAR1" or size < 12:
        raise _invalid("It does not end like a Parquet file: it was probably cut off.")
    if not 0 < length <= size - 12:
        raise _invalid("Its footer would be longer than the file.")
    if length > _MAX_FOOTER:
        raise _invalid(f"Its footer has {length:,} bytes; at most {_MAX_FOOTER:,} are allowed.")


def _check_counts(metadata: pq.FileMetaData, budget: Budget) -> None:
    """Refuse what can be refused before anything is decoded."""
    if metadata.num_columns > _MAX_COLUMNS:
        found = f"It has {metadata.num_columns:,} columns"
        raise _invalid(f"{found}; at most {_MAX_COLUMNS:,} are allowed.")
    groups = [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]
    if min(groups, default=0) < 0 or sum(groups) != metadata.num_rows:
        raise _invalid("Its footer is inconsistent about the number of rows.")
    if metadata.num_rows * _LEAST > budget.left:
        raise Unreadable(budget.fault())


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn running out of memory into Unreadable."""
    try:
        yield
    except MemoryError:
        message = "Decoding the file takes more memory than allowed."
        raise Unreadable(Fault("unpacked_too_large", message)) from None


@contextmanager
def _parquet_errors() -> Iterator[None]:
    """Turn the errors of pyarrow into Unreadable."""
    try:
        with _memory_errors():
            yield
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        said = " ".join(str(error).split())[:200]
        if "ncrypt" in said:
            raise _encrypted() from None
        raise _invalid(f"It could not be decoded: {said}") from None


def _invalid(message: str) -> Unreadable:
    return Unreadable(Fault("parquet_invalid", f"This Parquet file is damaged. {message}"))


def _encrypted() -> Unreadable:
    return Unreadable(Fault("parquet_encrypted", "This Parquet file is encrypted."))
