"""A file of a dataset, opened: unpacked if it is gzip, its format told, and its rows one by one."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from app.core.datasets.reading.arrays import read_values
from app.core.datasets.reading.budget import Budget, Unreadable
from app.core.datasets.reading.csv_rows import read_csv
from app.core.datasets.reading.features import Columns, CsvColumns, JsonColumns, KnownColumns
from app.core.datasets.reading.parse import Fault
from app.core.datasets.reading.readers import Found, read_lines
from app.core.datasets.reading.sniff import HEAD, NOTHING_DECLARED, Declared, Detection, detect
from app.core.datasets.reading.unpack import MAGIC, Unpacked

_BUFFER = 1 << 18


class Upload(NamedTuple):
    path: Path
    name: str | None = None
    """Shown where a dataset has several files."""


@dataclass
class Source:
    raw: "io.BufferedReader[Any]"
    """The file as it is stored."""
    stream: "io.BufferedReader[Any]"
    """What is in it."""
    size: int
    budget: Budget
    found: Detection
    head: bytes
    columns: Columns = field(default_factory=JsonColumns)
    _parquet: Any = None
    _num_read: int = 0

    def rows(
        self, max_chars: int, columns: Mapping[str, str], known: frozenset[str]
    ) -> Iterator[Found]:
        """`columns`: the caller's mapping; `known`: what may be read of a row, where a format can
        leave the rest alone. Raises Unreadable behind the last row that could be read.
        """
        found, stream = self.found, self.stream
        if found.format == "parquet":
            return self._parquet_rows(max_chars, known)
        stream.seek(found.start)
        if found.format == "json" or found.spans_lines:
            return read_values(stream, max_chars, is_array=found.format == "json")
        if found.format == "csv":
            return read_csv(stream, max_chars, found.delimiter, columns)
        return read_lines(stream, max_chars)

    def prepare(self, columns: Columns | None) -> None:
        """Choose what tells the columns: that of the file before, or a new one. May raise
        Unreadable.
        """
        if self.found.format == "parquet":
            # Here and not above: pyarrow is for the process that reads Parquet.
            from app.core.datasets.reading.parquet_features import printed
            from app.core.datasets.reading.parquet_rows import open_parquet

            self._parquet = open_parquet(self.raw)
            self.columns = columns or KnownColumns(printed(self._parquet.schema_arrow))
        elif columns:
            self.columns = columns
        elif self.found.format == "csv":
            self.columns = CsvColumns()

    def _parquet_rows(self, max_chars: int, known: frozenset[str]) -> Iterator[Found]:
        from app.core.datasets.reading.parquet_rows import read_parquet

        for row in read_parquet(self._parquet, max_chars, self.budget, known):
            self._num_read += 1
            yield row

    @property
    def share(self) -> float:
        """How much of the file is read."""
        if self._parquet is not None:
            num_rows: int = self._parquet.metadata.num_rows
            return self._num_read / max(num_rows, 1)
        return self.raw.tell() / max(self.size, 1)


def is_packed(path: Path) -> bool:
    """Whether there may be far more in a file than it has bytes."""
    with path.open("rb") as file:
        return file.read(4).startswith((MAGIC, b"PAR1"))


@contextmanager
def opened(path: Path, most: int, asked: Declared = NOTHING_DECLARED) -> Iterator[Source]:
    """`most`: bytes that may be uploaded. Raises Unreadable."""
    size = path.stat().st_size
    with io.BufferedReader(io.FileIO(path), _BUFFER) as raw:
        budget = Budget(size, most)
        is_gzip = raw.peek(2)[:2] == MAGIC
        stream: io.BufferedReader[Any] = raw
        if is_gzip:
            stream = io.BufferedReader(Unpacked(raw, size, budget), _BUFFER)
        found = detect(stream, asked)
        if is_gzip:
            found = _inside(found)
            # Beforehand: to read the rows takes ten times as long, and others wait.
            found = replace(found, fault=found.fault or _weigh(path, size, most))
        stream.seek(0)
        head = stream.read1(HEAD)
        yield Source(raw, stream, size, budget, found, head)


def _weigh(path: Path, size: int, most: int) -> Fault | None:
    """What is wrong with a gzip that becomes too much; damage is told where the rows end."""
    with path.open("rb") as raw:
        unpacked = Unpacked(raw, size, Budget(size, most))
        try:
            while unpacked.read(_BUFFER):
                pass
        except Unreadable as end:
            return end.fault if end.fault.code == "unpacked_too_large" else None
    return None


def _inside(found: Detection) -> Detection:
    """What was told of the content, as told of the gzip."""
    reason = f"Its first bytes are those of gzip. Inside: {found.reason}"
    fault = found.fault
    if found.format == "parquet" or (fault and fault.code == "format_unsupported"):
        fault = Fault("gzip_content", f"Inside the gzip is {found.format}.")
        if found.format == "unknown":
            fault.message = "What is inside the gzip is neither JSON, nor JSON Lines, nor CSV."
    return replace(found, reason=reason, fault=fault)
