"""Read the rows of a JSON array one by one, in memory that does not grow with the file.

Each row is parsed in place, which also finds its end. After a row that does not parse, reading
continues after its closing bracket or, if that is not found, where the next row seems to begin.
"""

import re
from collections.abc import Iterator
from io import BufferedIOBase

from app.core.datasets.reading.parse import Fault, scan
from app.core.datasets.reading.readers import Found, too_long
from app.core.datasets.reading.window import Window

_LOOKAHEAD = 16
"""Text buffered at most to find the end of a row that is too long, in longest allowed rows."""
_NEAR = 1 << 16
"""Characters already read that may stay in the window after a fault."""


def read_values(file: BufferedIOBase, max_chars: int, *, is_array: bool) -> Iterator[Found]:
    """Yield the rows of a JSON array, or of concatenated objects."""
    window = Window(file)
    if is_array:
        window.peek()
        window.take(window.at + 1)
    yield from _read_items(window, max_chars, is_array)


def _read_items(window: Window, max_chars: int, is_array: bool) -> Iterator[Found]:
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
        yield from _read_comma(window, is_array, is_sure=not found.fault)


def _read_between(window: Window, here: str) -> Found | None:
    """Read a comment or an extra comma in place of a row, if there is one."""
    line, text = window.line, window.ahead()
    if here == ",":
        window.take(window.at + 1)
        fault = Fault("json_trailing_comma", "There is a comma where a row should begin.")
        return Found(line, text=text, fault=fault, is_row=False)
    if here == "#" or text.startswith(("//", "/*")):
        window.take_through("*/" if text.startswith("/*") else "\n")
        fault = Fault("json_comment", "There is a comment between the rows.")
        return Found(line, text=text, fault=fault, is_row=False)
    return None


def _read_comma(window: Window, is_array: bool, *, is_sure: bool) -> Iterator[Found]:
    here = window.peek()
    line, text = window.line, window.ahead()
    if here == ",":
        window.take(window.at + 1)
        if not is_array or window.peek() == "]":
            fault = Fault("json_trailing_comma", "There is a comma, but no row after it.")
            if not is_array:
                fault.message = "There is a comma between objects that are not in an array."
            yield Found(line, text=text, fault=fault, is_row=False)
    elif is_array and is_sure and here and here not in "]/#":
        fault = Fault("json_missing_comma", "There is no comma between two rows.")
        if here in "{[":
            fault.hint = "This is JSON Lines inside brackets: remove the brackets, or add commas."
        yield Found(line, text=text, fault=fault, is_row=False)


def _read_item(window: Window, max_chars: int) -> Found:
    """Read the value at the window's position, and move the window past it, valid or not."""
    while True:
        start, line = window.at, window.line
        try:
            value, end = scan(window.text, start)
        except Fault as fault:
            if window.size <= max_chars and window.more():
                continue
            return _read_broken(window, fault, max_chars)
        if end == len(window.text) and window.more():
            continue  # a number may continue
        break
    text = window.text[start:end]
    bad = window.find_bad_byte(text)
    window.take(end)
    if len(text) > max_chars:
        return Found(line, text=text[:200], fault=too_long(max_chars))
    return Found(line, text=text, fault=bad) if bad else Found(line, value, text)


def _read_broken(window: Window, fault: Fault, max_chars: int) -> Found:
    """Return the fault of a row that does not parse, and move the window past the row."""
    text, line = window.ahead(), window.line
    bad = window.find_bad_byte(window.text[window.at : fault.at + 1])
    if fault.reaches_end and not window.is_end and window.size > max_chars:
        fault = too_long(max_chars)
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
            fault.message += " The end of the row was not found: what follows was not checked."
    return Found(line, text=text, fault=fault)


# Strings end at the line break here, so that a missing quote spoils only one line.
_BRACKETS = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|[\[\]{}]')
_BRACKETS_ACROSS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_SCALAR = re.compile(r"[^,\]\n]+")
_NEXT_ROW = re.compile(r"""[\n},]\s*(\{\s*["'])""")
_PARTNER = {"}": "{", "]": "["}


def _step_over(window: Window, fault: Fault, max_chars: int) -> bool:
    """Move past a value that does not parse: after its closing bracket, else to the next row.

    Returns False if neither is found.
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
        # A line break in a string, or a missing quote: the former, if that swallows no row.
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
