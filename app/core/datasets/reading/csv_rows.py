"""Read the rows of a CSV file one by one: quoted line breaks are text, the first row is the header.

A row that cannot be read is reported where it starts, and reading continues in the line after its
first: a missing quote spoils one row, and at most the longest allowed row is buffered.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from app.core.datasets.columns import holding_lists
from app.core.datasets.reading.parse import Fault, parse
from app.core.datasets.reading.readers import BOM, CHUNK, Found, not_utf8, too_long

SEPARATOR = re.compile(r"sep=([,;\t|])\r?\n")
"""A first line that tells Excel the delimiter."""
_BAD_BYTE = re.compile("[\udc80-\udcff]")


def read_csv(
    file: BinaryIO, max_chars: int, delimiter: str, columns: Mapping[str, str]
) -> Iterator[Found]:
    """Yield the rows as objects, keyed by column name. `columns`: the caller's mapping."""
    csv.field_size_limit(max_chars)
    rows = _Rows(file, max_chars, delimiter)
    header = next(rows, None)
    if header and SEPARATOR.fullmatch(header.text):
        header = next(rows, None)
    if header is None or header.fault:
        yield from filter(None, [header])
        return
    names = [name.strip() or f"column {n}" for n, name in enumerate(header.value, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        fault = Fault(
            "csv_duplicate_column", f"The header names the column {twice[0][:80]!a} twice."
        )
        yield Found(header.line, text=header.text, fault=fault, is_row=False)
        return
    lists = {name: name in columns.values() for name in holding_lists(columns) if name in names}
    for found in rows:
        if not found.fault:
            _name_cells(found, names, lists)
        yield found


def _name_cells(found: Found, names: list[str], lists: Mapping[str, bool]) -> None:
    """Turn cells into an object. `lists`: columns of lists, and whether the caller mapped them."""
    cells = found.value
    if len(cells) != len(names):
        message = f"The row has {len(cells):,} cells, the header has {len(names):,}."
        found.fault = Fault("csv_wrong_width", message)
        return
    found.value = dict(zip(names, cells, strict=True))
    for name, is_mapped in lists.items():
        if cell := found.value.get(name):
            found.value[name] = _parse_list(cell)
        elif is_mapped:
            found.value[name] = None
        else:
            found.value.pop(name, None)


def _parse_list(cell: str) -> Any:
    try:
        return parse(cell)
    except Fault:
        return cell  # the check of the row reports that it is not a list


class _Rows:
    """Rows as lists of cells, from lines that can be pushed back."""

    def __init__(self, file: BinaryIO, max_chars: int, delimiter: str) -> None:
        self._file = file
        self._max_chars = max_chars
        self._delimiter = delimiter
        self._offset = file.tell()
        self._line = 1
        """Number of the next line to take."""
        self._pushed_back: deque[str] = deque()
        self._taken: list[str] = []
        self._size = 0

    def __iter__(self) -> Iterator[Found]:
        return self

    def __next__(self) -> Found:
        self._offset += sum(len(line.encode("utf-8", "surrogateescape")) for line in self._taken)
        self._taken, self._size = [], 0
        start = self._line
        try:
            cells = next(csv.reader(_Lines(self), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            return self._give_up(start, _name_error(str(error)))
        except Fault as fault:
            return self._give_up(start, fault)
        text = self._taken[0] if len(self._taken) == 1 else "".join(self._taken)
        if not cells:
            blank = Fault("blank_lines", "The file has blank lines.")
            return Found(start, fault=blank, is_row=False)
        bad = None if text.isascii() else _BAD_BYTE.search(text)
        if bad:
            at = self._offset + len(text[: bad.start()].encode("utf-8", "surrogateescape"))
            return Found(start, text=_show(text), fault=not_utf8(ord(bad[0]) - 0xDC00, at))
        return Found(start, cells, text)

    def take(self) -> str:
        """Return the next line of the current row. Raises Fault if the row gets too long."""
        line = self._pushed_back.popleft() if self._pushed_back else self._read()
        if not line:
            raise StopIteration
        self._line += 1
        self._taken.append(line)
        self._size += len(line)
        if self._size > self._max_chars + 2:
            raise too_long(self._max_chars)
        return line

    def _read(self) -> str:
        limit = 4 * self._max_chars + 2
        line = self._file.readline(limit)
        if self._line == 1 and line.startswith(BOM):
            line, self._offset = line[3:], self._offset + 3
        text = line.decode("utf-8", "surrogateescape")
        while len(line) == limit and not line.endswith(b"\n"):
            line = self._file.readline(CHUNK)
            self._offset += len(line)
            limit = CHUNK
        return text

    def _give_up(self, start: int, fault: Fault) -> Found:
        first, *rest = self._taken
        self._pushed_back.extendleft(reversed(rest))
        self._line = start + 1
        self._taken = [first]
        if rest and fault.code == "row_too_long":
            fault = _name_error("unexpected end of data")
        return Found(start, text=_show(first), fault=fault)


class _Lines:
    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return self._rows.take()


def _name_error(message: str) -> Fault:
    if message.startswith(("unexpected end", "field larger")):
        return Fault("csv_open_quote", "A quoted cell is not closed.")
    if message.startswith("new-line"):
        hint = "End the lines with LF or CR LF."
        return Fault("csv_invalid", "There is a bare carriage return outside quotes.", hint=hint)
    return Fault("csv_invalid", "Text follows the closing quote of a cell.")


def _show(text: str) -> str:
    return text[:200].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
