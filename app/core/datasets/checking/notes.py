"""What is not read of the rows, counted by name and reported once at the end."""

from typing import NamedTuple

from app.core.datasets.checking.report import Problems
from app.core.datasets.checking.rows import Flaw

_SENTENCES = {
    "message_key_ignored": "The key `{name}` of {messages} is not used and was left out.",
    "message_mask_ignored": "{messages} have the key `{name}`, by which other tools leave messages "
    "out of training; here it is not read.",
    "label_false": "{rows} have `{name}` false: bad answers would be trained as good. These rows "
    "are refused.",
    "label_ignored": "{rows} have `{name}` 0, which is not read: a bad answer is trained as good.",
    "preference_ignored": "{rows} have `{name}`, which is not read: only the answer is trained.",
    "media_ignored": "{rows} have `{name}`, which is not read: only their text is trained.",
    "tools_ignored": "{rows} have `{name}`, which is not read: their `text` is trained as it is.",
}
COUNTED = frozenset(_SENTENCES)
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

    def report(self, problems: Problems, num_rows: int) -> None:
        for (code, name), count in self._counts.items():
            at = self._first[code, name]
            problems.add(
                code,
                _sentence(code, name, count, num_rows),
                row=at.row,
                line=at.line,
                field=at.field,
                file=at.file,
                count=count,
            )


def _sentence(code: str, name: str, count: int, num_rows: int) -> str:
    messages = f"{count:,} message{'s' if count > 1 else ''}"
    rows = f"{count:,} of {num_rows:,} rows"
    return _SENTENCES[code].format(name=name, messages=messages, rows=rows)
