"""What is not read of the rows, counted by name and reported once at the end."""

from typing import NamedTuple

from app.core.datasets.checking.report import Problems
from app.core.datasets.checking.rows import Flaw

COUNTED = ("message_key_ignored", "message_mask_ignored")
"""Codes of flaws that are counted here; the message of such a flaw is a name."""
_MAX_NAMES = 500


class _First(NamedTuple):
    row: int
    line: int
    field: str
    file: str | None


class Notes:
    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._first: dict[tuple[str, str], _First] = {}

    def add(self, flaw: Flaw, row: int, line: int, file: str | None) -> None:
        key = (flaw.code, flaw.message)
        if key not in self._counts and len(self._counts) == _MAX_NAMES:
            return
        self._counts[key] = self._counts.get(key, 0) + 1
        self._first.setdefault(key, _First(row, line, flaw.field, file))

    def report(self, problems: Problems) -> None:
        for (code, name), count in self._counts.items():
            at = self._first[code, name]
            problems.add(
                code,
                _sentence(code, name, count),
                row=at.row,
                line=at.line,
                field=at.field,
                file=at.file,
                count=count,
            )


def _sentence(code: str, name: str, count: int) -> str:
    many = f"{count:,} message{'s' if count > 1 else ''}"
    if code == "message_key_ignored":
        return f"The key `{name}` of {many} is not used and was left out."
    return (
        f"{many} have the key `{name}`, by which other tools leave messages out of training; here "
        "it is not read."
    )
