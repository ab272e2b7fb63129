"""Read the rows of JSON Lines one by one, in memory that does not grow with the file.

A row that cannot be read is yielded as a Fault in its place, and reading continues after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from app.core.datasets.reading.parse import Fault, parse

BOM = b"\xef\xbb\xbf"
CHUNK = 1 << 20


@dataclass(slots=True)
class Found:
    """A row, or a fault in its place or between rows."""

    line: int
    """1-based line where the row starts or, for a syntax error, where the error is."""
    value: Any = None
    text: str = ""
    num_chars: int = 0
    """Characters of a row that has no source text."""
    fault: Fault | None = None
    is_row: bool = True
    """False for a fault between rows."""
    file: str | None = None
    """Name of the file it is in, if there are several."""


def read_lines(file: BinaryIO, max_chars: int) -> Iterator[Found]:
    """Yield the rows of a JSON Lines file."""
    limit = 4 * max_chars + 2  # four bytes per character in UTF-8 at most, and the line end
    offset, number = file.tell(), 0
    while line := file.readline(limit):
        number += 1
        start, offset = offset, offset + len(line)
        if len(line) == limit and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(CHUNK)
                offset += len(line)
            yield Found(number, fault=too_long(max_chars))
        elif line.startswith(BOM):
            yield Found(
                number, fault=Fault("bom", "The line begins with a byte order mark."), is_row=False
            )
            yield _read_line(line[3:], number, start + 3, max_chars)
        elif line.isspace():
            if not line.endswith(b"\n") or file.peek(1):  # type: ignore[attr-defined]
                blank = Fault("blank_lines", "The file has blank lines.")
                yield Found(number, fault=blank, is_row=False)
        else:
            yield _read_line(line, number, start, max_chars)


def _read_line(line: bytes, number: int, offset: int, max_chars: int) -> Found:
    try:
        text = line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        fault = not_utf8(line[error.start], offset + error.start)
        return Found(number, text=line[:400].decode("latin-1"), fault=fault)
    if len(text) > max_chars:
        return Found(number, text=text[:200], fault=too_long(max_chars))
    try:
        return Found(number, parse(text), text)
    except Fault as fault:
        if fault.reaches_end and fault.code == "json_truncated":
            fault.hint = "The line was cut off, or a raw line break in a string splits it: use \\n."
        return Found(number, text=text, fault=fault)


def too_long(max_chars: int) -> Fault:
    return Fault("row_too_long", f"The row is longer than {max_chars:,} characters.")


def not_utf8(byte: int, offset: int) -> Fault:
    return Fault("not_utf8", f"Byte 0x{byte:02x} at offset {offset:,} is not UTF-8.")
