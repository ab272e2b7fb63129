"""Open a file of a dataset: decompress gzip, detect the format, and read the rows one by one."""

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
    """Shown if a dataset has several files."""


@dataclass
class Source:
    raw: "io.BufferedReader[Any]"
    """The file as it is stored."""
    stream: "io.BufferedReader[Any]"
    """Its content, decompressed if it is gzip."""
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
        """Yield the rows. `columns`: the caller's mapping; `known`: the columns to read, if the
        format allows skipping the others. Raises Unreadable after the last row that could be read.
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
        """Choose what infers the columns: that of the previous file, or a new one. May raise
        Unreadable.
        """
        if self.found.format == "parquet":
            # Imported here: only a process that reads Parquet loads pyarrow.
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
        """The share of the file that has been read."""
        if self._parquet is not None:
            num_rows: int = self._parquet.metadata.num_rows
            return self._num_read / max(num_rows, 1)
        return self.raw.tell() / max(self.size, 1)


def is_packed(path: Path) -> bool:
    """Whether the content of a file may be far larger than the file."""
    with path.open("rb") as file:
        return file.read(4).startswith((MAGIC, b"PAR1"))


@contextmanager
def opened(path: Path, most: int, declared: Declared = NOTHING_DECLARED) -> Iterator[Source]:
    """Open a file. `most`: the upload limit in bytes. Raises Unreadable."""
    size = path.stat().st_size
    with io.BufferedReader(io.FileIO(path), _BUFFER) as raw:
        budget = Budget(size, most)
        is_gzip = raw.peek(2)[:2] == MAGIC
        stream: io.BufferedReader[Any] = raw
        if is_gzip:
            stream = io.BufferedReader(Unpacked(raw, size, budget), _BUFFER)
        found = detect(stream, declared)
        if is_gzip:
            found = _inside(found)
            # Up front: reading the rows takes ten times as long, while other uploads wait.
            found = replace(found, fault=found.fault or _weigh(path, size, most))
        stream.seek(0)
        head = stream.read1(HEAD)
        yield Source(raw, stream, size, budget, found, head)


def _weigh(path: Path, size: int, most: int) -> Fault | None:
    """Return the fault of a gzip that decompresses to too much; damage is reported at its place."""
    with path.open("rb") as raw:
        unpacked = Unpacked(raw, size, Budget(size, most))
        try:
            while unpacked.read(_BUFFER):
                pass
        except Unreadable as end:
            return end.fault if end.fault.code == "unpacked_too_large" else None
    return None


def _inside(found: Detection) -> Detection:
    """Turn the detection of a gzip's content into that of the gzip."""
    reason = f"Its first bytes are those of gzip. Inside: {found.reason}"
    fault = found.fault
    if found.format == "parquet" or (fault and fault.code == "format_unsupported"):
        fault = Fault("gzip_content", f"The gzip contains {found.format}.")
        if found.format == "unknown":
            fault.message = "The gzip does not contain JSON, JSON Lines or CSV."
    return replace(found, reason=reason, fault=fault)
