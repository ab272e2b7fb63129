"""Rows of a Parquet file one by one. Nothing the footer says is believed: what is decoded is
weighed before it becomes Python's, and a file that decodes to too much is given up.

pyarrow is imported here, and this only in the validator's child.
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
"""Rows decoded at once: that many of the longest rows allowed fit into the child's memory."""
_DICTIONARY_BATCH = 1024
"""Where a column is stored as a dictionary, which comes whole with every batch."""
_AT_ONCE = 16 << 20
"""Weight of a batch above which its rows are taken one by one."""
_LEAST = 32
"""Weight of a row at least: as JSON it takes more for the names of two columns of ours."""
_MAX_FOOTER = 16 << 20
_MAX_COLUMNS = 1_000
_MAX_DEPTH = 32
_TAIL = struct.Struct("<I4s")


def open_parquet(file: BinaryIO) -> pq.ParquetFile:
    """Its footer read, and nothing else. Raises Unreadable."""
    _check_footer(file)
    file.seek(0)
    with _parquet_errors():
        # Column chunks come through a small buffer: without one each is read whole.
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
    """Rows as objects. Of a column that is not `known` only the name is read: an empty value of its
    kind stands under it. Raises Unreadable behind the last row that could be read.
    """
    _check_counts(opened.metadata, budget)
    reader = _Reader(opened.schema_arrow, known, max_chars, budget)
    count = 0
    for batch in reader.batches(opened):
        yield from reader.rows(batch, count)
        count += len(batch)
    if count != opened.metadata.num_rows:
        told = opened.metadata.num_rows
        raise _invalid(f"Its footer tells of {told:,} rows, and {count:,} are there.")


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
        """`count`: rows before these."""
        with _spared():
            weight = self._weigh(batch)
            self._budget.spend(weight)
            found = self._take_at_once(batch, count) if weight <= _AT_ONCE else None
        if found is not None:
            yield from found
            return
        for at in range(len(batch)):
            with _spared():
                row = self._take_one(batch.slice(at, 1), count + at)
            yield row

    def _weigh(self, batch: pa.RecordBatch) -> int:
        return _LEAST * len(batch) + sum(map(weigh, batch.columns))

    def _take_at_once(self, batch: pa.RecordBatch, count: int) -> list[Found] | None:
        """None where a text is not UTF-8."""
        try:
            return self._take(batch, count)
        except UnicodeDecodeError:
            return None

    def _take_one(self, row: pa.RecordBatch, count: int) -> Found:
        # Four bytes a character, and more than a value weighs beside its text.
        if self._weigh(row) > 4 * self._max_chars + (1 << 20):
            return Found(count + 1, fault=too_long(self._max_chars))
        try:
            return self._take(row, count)[0]
        except UnicodeDecodeError:
            hint = "Write the column with strings in UTF-8."
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
        return Found(line, value, num_chars=num_chars)


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
        raise _invalid("It does not end as Parquet does: it was probably cut off.")
    if not 0 < length <= size - 12:
        raise _invalid("Its footer would be longer than the file.")
    if length > _MAX_FOOTER:
        raise _invalid(f"Its footer has {length:,} bytes; at most {_MAX_FOOTER:,} are read.")


def _check_counts(told: pq.FileMetaData, budget: Budget) -> None:
    """What can be refused before anything is decoded."""
    if told.num_columns > _MAX_COLUMNS:
        raise _invalid(f"It has {told.num_columns:,} columns; at most {_MAX_COLUMNS:,} are read.")
    groups = [told.row_group(at).num_rows for at in range(told.num_row_groups)]
    if min(groups, default=0) < 0 or sum(groups) != told.num_rows:
        raise _invalid("Its footer contradicts itself about the number of rows.")
    if told.num_rows * _LEAST > budget.left:
        raise Unreadable(budget.fault())


@contextmanager
def _spared() -> Iterator[None]:
    """Running out of memory, as Unreadable."""
    try:
        yield
    except MemoryError:
        message = "Decoding the file takes more memory than it is given."
        raise Unreadable(Fault("unpacked_too_large", message)) from None


@contextmanager
def _parquet_errors() -> Iterator[None]:
    """What pyarrow raises, as Unreadable."""
    try:
        with _spared():
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
