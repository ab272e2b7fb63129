"""Tables as plain text: ids stay whole, and only the last column is cut to the terminal's width."""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

GAP = "  "
_MIN_LAST = 4
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Align the rows under their heads. `width`: cut the last column there; None keeps it."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads) - 1)]
    used = sum(widths) + len(GAP) * len(widths)
    room = None if width is None else max(width - used, _MIN_LAST)
    shown = []
    for *cells, last in lines:
        padded = [cell.ljust(size) for cell, size in zip(cells, widths, strict=True)]
        shown.append(GAP.join([*padded, cut(last, room)]).rstrip())
    return "\n".join(shown)


def pairs(fields: Sequence[tuple[str, str]], width: int | None = None) -> str:
    """Align names and values. `width`: wrap values there; None puts each on one line."""
    indent = max((len(name) for name, _ in fields), default=0) + len(GAP)
    separator, shown = "\n" + indent * " ", []
    for name, value in fields:
        lines = wrap(value, None if width is None else max(width - indent, 20))
        shown.append(f"{name.ljust(indent)}{separator.join(lines)}".rstrip())
    return "\n".join(shown)


def wrap(text: str, width: int | None) -> list[str]:
    """Break a text into lines between words; an id or a path stays whole."""
    if width is None:
        return [text]
    breaker = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    return breaker.wrap(text) or [""]


def cut(text: str, room: int | None) -> str:
    """Shorten a text to one line of at most `room` characters."""
    line = " ".join(text.split())
    return line if room is None or len(line) <= room else line[: room - 3] + "..."


def terminal_width(out: TextIO = sys.stdout) -> int | None:
    """None without a terminal: then nothing is cut or wrapped."""
    return shutil.get_terminal_size().columns if out.isatty() else None


def age(moment: str | None) -> str:
    """Return the time since a moment of the API, in its largest unit."""
    if moment is None:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    return span(max(seconds, 0))


def span(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float | None) -> str:
    if count is None:
        return "unknown"
    units, power = ("B", "KiB", "MiB", "GiB", "TiB"), 0
    while count >= 1024 and power < len(units) - 1:
        count, power = count / 1024, power + 1
    return f"{count:.{min(power, 1)}f} {units[power]}"
