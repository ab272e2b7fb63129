"""Rows of an upload one by one, in memory that does not grow with the file.

A row that cannot be read is yielded as a Fault in its place, and reading goes on behind it.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from app.core.datasets.parse import Fault, parse, scan, skip_space

BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 20
_LOOKAHEAD = 16
"""How many times the longest allowed row is held at most, to find where a longer one ends."""
_NEAR = 1 << 16


@dataclass(slots=True)
class Found:
    """A row, or what stands in place of one."""

    line: int
    """1-based, where the row starts; of a syntax error, where that is."""
    value: Any = None
    text: str = ""
    fault: Fault | None = None
    is_row: bool = True
    """False for a fault between rows."""


def read_lines(file: BinaryIO, max_chars: int) -> Iterator[Found]:
    """Rows of a JSON Lines file."""
    limit = 4 * max_chars + 2  # four bytes per character in UTF-8 at most, and the line end
    offset = number = 0
    while line := file.readline(limit):
        number += 1
        start, offset = offset, offset + len(line)
        if len(line) == limit and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(_CHUNK)
                offset += len(line)
            yield Found(number, fault=_too_long(max_chars))
        elif line.startswith(BOM):
            yield Found(number, fault=Fault("bom", "A byte order mark opens it."), is_row=False)
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
        fault = _not_utf8(line[error.start], offset + error.start)
        return Found(number, text=line[:400].decode("latin-1"), fault=fault)
    if len(text) > max_chars:
        return Found(number, text=text[:200], fault=_too_long(max_chars))
    try:
        return Found(number, parse(text), text)
    except Fault as fault:
        if fault.reaches_end and fault.code == "json_truncated":
            fault.hint = "The line was cut off, or a raw line break in a string splits it: use \\n."
        return Found(number, text=text, fault=fault)


def _too_long(max_chars: int) -> Fault:
    return Fault("row_too_long", f"The row is longer than {max_chars:,} characters.")


def _not_utf8(byte: int, offset: int) -> Fault:
    return Fault("not_utf8", f"Byte 0x{byte:02x} at offset {offset:,} is not UTF-8.")


def read_values(file: BinaryIO, max_chars: int, *, is_array: bool) -> Iterator[Found]:
    """Rows of a JSON array, or of objects that simply follow each other."""
    window = _Window(file)
    if is_array:
        window.peek()
        window.take(window.at + 1)
    yield from _read_items(window, max_chars, is_array)


def _read_items(window: "_Window", max_chars: int, is_array: bool) -> Iterator[Found]:
    while True:
        here = window.peek()
        if not here:
            if is_array:
                ended = Fault("json_truncated", "The file ends before the array is closed.")
                yield Found(window.line, fault=ended, is_row=False)
            return
        if is_array and here == "]":
            window.take(window.at + 1)
            if window.peek():
                extra = Fault("json_extra_data", "Text follows the end of the array.")
                yield Found(window.line, text=window.ahead(), fault=extra, is_row=False)
            return
        if between := _read_between(window, here):
            yield between
            continue
        found = _read_item(window, max_chars)
        yield found
        # The parser counts lines from the start of its text for every error it raises.
        if found.fault and window.at > _NEAR:
            window.drop_passed()
        if found.fault and found.fault.reaches_end:
            return
        yield from _read_comma(window, is_array)


def _read_between(window: "_Window", here: str) -> Found | None:
    """A comment, or a comma too many, in place of a row."""
    line, text = window.line, window.ahead()
    if here == ",":
        window.take(window.at + 1)
        fault = Fault("json_trailing_comma", "A comma stands where a row should begin.")
        return Found(line, text=text, fault=fault, is_row=False)
    if here == "#" or text.startswith(("//", "/*")):
        window.take_through("*/" if text.startswith("/*") else "\n")
        fault = Fault("json_comment", "A comment stands between the rows.")
        return Found(line, text=text, fault=fault, is_row=False)
    return None


def _read_comma(window: "_Window", is_array: bool) -> Iterator[Found]:
    here = window.peek()
    line, text = window.line, window.ahead()
    if here == ",":
        window.take(window.at + 1)
        if not is_array or window.peek() == "]":
            fault = Fault("json_trailing_comma", "A comma stands where no row follows.")
            if not is_array:
                fault.message = "A comma stands between objects that are not in an array."
            yield Found(line, text=text, fault=fault, is_row=False)
    elif is_array and here and here not in "]/#":
        fault = Fault("json_missing_comma", "No comma stands between two rows.")
        if here in "{[":
            fault.hint = "This is JSON Lines inside brackets: remove them, or add the commas."
        yield Found(line, text=text, fault=fault, is_row=False)


def _read_item(window: "_Window", max_chars: int) -> Found:
    """The value the window stands on; the window ends up behind it, whatever it was."""
    while True:
        start, line = window.at, window.line
        try:
            value, end = scan(window.text, start)
        except Fault as fault:
            if window.size <= max_chars and window.more():
                continue
            return _read_broken(window, fault, max_chars)
        if end == len(window.text) and window.more():
            continue  # a number may go on
        break
    text = window.text[start:end]
    bad = window.find_bad_byte(text)
    window.take(end)
    if len(text) > max_chars:
        return Found(line, text=text[:200], fault=_too_long(max_chars))
    return Found(line, text=text, fault=bad) if bad else Found(line, value, text)


def _read_broken(window: "_Window", fault: Fault, max_chars: int) -> Found:
    """What stands in place of a row that does not parse; the window is moved behind it."""
    text, line = window.ahead(), window.line
    bad = window.find_bad_byte(window.text[window.at : fault.at + 1])
    if fault.reaches_end and not window.is_end and window.size > max_chars:
        fault = _too_long(max_chars)
    elif bad:
        fault = bad
    elif fault.at > window.at:
        line += window.text.count("\n", window.at, fault.at)
        text = window.text[max(window.at, fault.at - 60) : fault.at + 140]
    is_cut = fault.reaches_end and window.is_end
    fault.reaches_end = not _step_over(window, fault, max_chars)
    if fault.reaches_end:
        if is_cut:
            fault.code = "json_truncated"
            fault.message = "The file ends inside this row."
        else:
            fault.message += " Where it ends could not be found: what follows was not checked."
    return Found(line, text=text, fault=fault)


# Strings end with their line here: a quote that was forgotten then spoils one line only.
_BRACKETS = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|[\[\]{}]')
_BRACKETS_ACROSS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_SCALAR = re.compile(r"[^,\]\n]+")
_NEXT_ROW = re.compile(r"""[\n},]\s*(\{\s*["'])""")
_PARTNER = {"}": "{", "]": "["}


def _step_over(window: "_Window", fault: Fault, max_chars: int) -> bool:
    """Move behind a value that does not parse: its closing bracket, else the next start of a row.

    False when neither is in sight.
    """
    shift = max(fault.at - window.at, 1)
    while True:
        end = _find_end(window.text, window.at, window.at + shift, fault.code)
        if end:
            window.take(end)
            return True
        if window.size > _LOOKAHEAD * max_chars or not window.more():
            return False


def _find_end(text: str, start: int, blamed: int, code: str) -> int | None:
    if text[start] not in "{[":
        scalar = _SCALAR.match(text, start)
        return scalar.end() if scalar else start + 1
    if code == "json_control_character":
        # A line break in a string, or a quote forgotten? Read as the former, no row is swallowed.
        across = _closing(text, start, _BRACKETS_ACROSS)
        row = _NEXT_ROW.search(text, blamed - 1)
        if across and (not row or across <= row.start(1)):
            return across
    end = _closing(text, start, _BRACKETS)
    if end:
        return end
    row = _NEXT_ROW.search(text, blamed - 1)
    return row.start(1) if row else None


def _closing(text: str, start: int, pattern: re.Pattern[str]) -> int | None:
    open_brackets: list[str] = []
    for token in pattern.finditer(text, start):
        bracket = token.group()
        if bracket in ("{", "["):
            open_brackets.append(bracket)
        elif bracket in _PARTNER:
            if open_brackets.pop() != _PARTNER[bracket]:
                return None
            if not open_brackets:
                return token.end()
    return None


class _Window:
    """A stretch of a file's text, from where reading stands to some way ahead."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        # Bytes that are not UTF-8 become lone surrogates, so that they spoil their row only.
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._has_bad_bytes = False
        self._offset = file.tell()
        self.text = ""
        self.at = 0
        self.line = 1
        self.is_end = False

    @property
    def size(self) -> int:
        return len(self.text) - self.at

    def more(self) -> bool:
        """At least double what lies ahead; False at the end of the file."""
        if self.is_end:
            return False
        self.drop_passed()
        chunk = self._file.read(max(_CHUNK, self.size))
        self.is_end = not chunk
        self.text += self._decode(chunk, final=self.is_end)
        self._has_bad_bytes = not _is_encodable(self.text)
        return True

    def drop_passed(self) -> None:
        passed = self.text[: self.at]
        self._offset += len(passed.encode("utf-8", "surrogateescape"))
        self.text = self.text[self.at :]
        self.at = 0

    def take(self, end: int) -> None:
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def take_through(self, mark: str) -> None:
        while (end := self.text.find(mark, self.at)) < 0:
            self.take(len(self.text))
            if not self.more():
                return
        self.take(end + len(mark))

    def peek(self) -> str:
        """The next character that is not white space, or "" at the end."""
        while True:
            self.take(skip_space(self.text, self.at))
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def ahead(self) -> str:
        return self.text[self.at : self.at + 200]

    def find_bad_byte(self, text: str) -> Fault | None:
        """What is not UTF-8 in a text that begins where the window stands."""
        bad = re.search("[\udc80-\udcff]", text) if self._has_bad_bytes else None
        if not bad:
            return None
        before = self.text[: self.at] + text[: bad.start()]
        offset = self._offset + len(before.encode("utf-8", "surrogateescape"))
        return _not_utf8(ord(bad.group()) - 0xDC00, offset)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
