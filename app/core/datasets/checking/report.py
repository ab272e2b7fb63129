"""The report of a dataset: its problems and where they are, and statistics of the valid rows."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

from app.core import store_keys
from app.core.datasets.checking.codes import CODES, Severity
from app.core.datasets.formats import CANONICAL, Row
from app.core.datasets.shown import escape
from app.core.datasets.status import DatasetStatus
from app.core.datasets.tokens.templates import alpaca_prompt

_MAX_LISTED: Mapping[Severity, int] = {"error": 800, "warning": 100, "info": 100}
"""Entries listed per severity, 1,000 in total: no severity crowds out the others."""
_MAX_REMEMBERED = 1_500_000
"""Row hashes kept in memory to find copies: about 200 MB."""
_MAX_CELL = 2_000
"""Characters of a text in `first_rows`."""

MAX_STORED = 1 << 30
"""Largest problems.jsonl in bytes: about three million problems."""
_MARK_BYTES = 1 << 12

_BROKEN_OFF = "The rows were not checked."
_FEATURES = {"history": "List(List(Value('string')))", "weights": "List(Value('int64'))"}
_FEATURES |= {"reasoning": "List(Value('string'))"}
_FEATURES |= {"tools": "Json(decode=True)", "messages": "Json(decode=True)"}


class Entry(NamedTuple):
    row: int | None
    """0-based; None if the problem does not concern one row."""
    line: int | None
    """1-based line where the row starts or, for a syntax error, where the error is."""
    pointer: str
    """`/<row>/<field>` for every format, as if the file were a JSON array; "" is the file."""
    code: str
    severity: Severity
    message: str
    hint: str
    snippet: str
    file: str | None = None
    """Name of the file, if there are several; `line` counts within it, `row` across all."""


class Problems:
    """Entries in the order found. Counts are complete, the list is capped, each info occurs once.

    `stored` gets every entry as a JSON line, each info once, up to a limit in bytes; the last line
    then says that there are more.
    """

    def __init__(self, stored: BinaryIO | None = None, max_stored: int = MAX_STORED) -> None:
        self._stored = stored
        self._num_bytes_left = max_stored - _MARK_BYTES
        self.num_stored = 0
        self.are_all_stored = True
        self.entries: list[Entry] = []
        self.counts: Counter[str] = Counter()
        self.is_truncated = False
        self.num_errors = 0
        self._listed: Counter[Severity] = Counter()
        self._informed: set[tuple[str, str]] = set()

    def add(
        self,
        code: str,
        message: str,
        *,
        row: int | None = None,
        line: int | None = None,
        field: str = "",
        hint: str = "",
        snippet: str = "",
        file: str | None = None,
        count: int = 1,
    ) -> None:
        severity, usual_hint = CODES[code]
        self.counts[code] += count
        self.num_errors += severity == "error"
        if severity == "info" and not self._is_new(code, field):
            return
        is_listed = self._is_listed(severity)
        if not is_listed and not (self._stored and self.are_all_stored):
            return
        pointer = "" if row is None else f"/{row}" + (f"/{field}" if field else "")
        advice = hint or usual_hint
        entry = Entry(row, line, pointer, code, severity, message, advice, escape(snippet), file)
        if is_listed:
            self.entries.append(entry)
        self._store(entry)

    def end(self) -> None:
        """End a truncated list with a line that says so. Call it when the counts are complete."""
        if self.are_all_stored or not self._stored:
            return
        found = sum(
            number for code, number in self.counts.items() if CODES[code].severity != "info"
        )
        severity, hint = CODES["problems_truncated"]
        message = f"The list ends here, after {self.num_stored:,} of about {found:,} problems."
        mark = Entry(None, None, "", "problems_truncated", severity, message, hint, "")
        self._stored.write(_line(mark))

    def _store(self, entry: Entry) -> None:
        if not self._stored or not self.are_all_stored:
            return
        line = _line(entry)
        if len(line) > self._num_bytes_left:
            self.are_all_stored = False
            return
        self._num_bytes_left -= len(line)
        self.num_stored += 1
        self._stored.write(line)

    def _is_new(self, code: str, field: str) -> bool:
        """Whether an info has not been reported yet and there is room for it."""
        is_new = (code, field) not in self._informed
        if not is_new or len(self._informed) == _MAX_LISTED["info"]:
            return False
        self._informed.add((code, field))
        return True

    def _is_listed(self, severity: Severity) -> bool:
        if severity == "info":
            return True
        is_full = self._listed[severity] == _MAX_LISTED[severity]
        self.is_truncated |= is_full
        self._listed[severity] += not is_full
        return not is_full


def _line(entry: Entry) -> bytes:
    return (_encode(entry._asdict()) + "\n").encode()


_encode = json.JSONEncoder(separators=(",", ":")).encode


class Profile:
    """Statistics of the valid rows, in memory that hardly grows with their number."""

    def __init__(self) -> None:
        self.num_rows = 0
        self.columns: Counter[str] = Counter()
        self.first_rows: list[Row] = []
        self.num_copies = 0
        self.copies: list[tuple[int, int]] = []
        self._first_seen: dict[bytes, int] = {}
        self._lengths: dict[str, Counter[int]] = {}

    def add(self, index: int, row: Row, line: bytes) -> None:
        self.num_rows += 1
        self.columns.update(row.keys())
        if len(self.first_rows) < 5:
            self.first_rows.append(_shorten(row))
        self._compare(index, blake2b(line, digest_size=16).digest())
        for key, text in row.items():
            if isinstance(text, str):
                self._measure(key, len(text))
        if "messages" in row:
            self._measure("text", sum(len(each["content"]) for each in row["messages"]))
        elif "text" not in row:
            self._measure("text", len(alpaca_prompt(row)) + len(row["output"]))

    def _compare(self, index: int, digest: bytes) -> None:
        first = self._first_seen.get(digest)
        if first is not None:
            self.num_copies += 1
            if len(self.copies) < 10:
                self.copies.append((first, index))
        elif len(self._first_seen) < _MAX_REMEMBERED:
            self._first_seen[digest] = index

    def _measure(self, column: str, length: int) -> None:
        counts = self._lengths.get(column)
        if counts is None:
            counts = self._lengths[column] = Counter()
        counts[length] += 1

    @property
    def all_compared(self) -> bool:
        return len(self._first_seen) < _MAX_REMEMBERED

    @property
    def templates(self) -> list[str]:
        """Templates that can render every valid row."""
        with_calls = self.columns["messages"]
        if with_calls:
            is_chat = with_calls + self.columns["instruction"] == self.num_rows
            return ["chat"] if is_chat else []
        fits = {"instruction": ("alpaca", "chat"), "text": ("text",)}
        complete = [key for key in fits if 0 < self.num_rows == self.columns[key]]
        return [template for key in complete for template in fits[key]]

    @property
    def features(self) -> dict[str, str]:
        """Columns of the valid rows, as the `datasets` library prints them."""
        seen = [name for name in CANONICAL if name in self.columns]
        return {name: _FEATURES.get(name, "Value('string')") for name in seen}

    @property
    def lengths(self) -> dict[str, dict[str, float]]:
        """In characters. `text` is that column or, in rows without it, the row in Alpaca's form; of
        a row with tool calls, the contents of its messages."""
        return {column: summarize(counts) for column, counts in self._lengths.items()}


def _shorten(row: Row) -> Row:
    short: Any = {key: _cut(value) for key, value in row.items()}
    return short  # type: ignore[no-any-return]


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_MAX_CELL]
    if isinstance(value, list):
        return [_cut(each) for each in value[:5]]
    return {k: _cut(v) for k, v in value.items()} if isinstance(value, dict) else value


def summarize(counts: Counter[int]) -> dict[str, float]:
    """Return min, max, mean and percentiles, the latter exact and by nearest rank."""
    total = counts.total()
    ordered = sorted(counts.items())
    mean = sum(length * count for length, count in ordered) / total
    found = {f"p{share}": _percentile(ordered, total * share / 100) for share in (50, 90, 99)}
    return {"min": ordered[0][0], "max": ordered[-1][0], "mean": round(mean, 2), **found}


def _percentile(ordered: Iterable[tuple[int, int]], rank: float) -> int:
    passed = 0
    for length, count in ordered:
        passed += count
        if passed >= rank:
            return length
    raise ValueError("no values")


def as_dict(
    format_: str, reason: str, num_rows: int, problems: Problems, profile: Profile
) -> dict[str, Any]:
    """Return the report as it is stored."""
    return {
        "status": DatasetStatus.INVALID if problems.num_errors else DatasetStatus.READY,
        "format": format_,
        "detected": reason,
        "num_rows": num_rows,
        "num_valid_rows": profile.num_rows,
        "problems": [entry._asdict() for entry in problems.entries],
        "problem_counts": dict(problems.counts),
        "problems_truncated": problems.is_truncated,
        "problems_stored": {"count": problems.num_stored, "complete": problems.are_all_stored},
        "duplicates": {"exact": profile.num_copies, "examples": profile.copies},
        "lengths": profile.lengths,
        "features": profile.features,
        "templates": profile.templates,
        "first_rows": profile.first_rows,
    }


def broken_off(code: str, message: str) -> dict[str, bytes]:
    """Return the stored files, by name, of a dataset whose rows could not be checked."""
    stored = BytesIO()
    problems = Problems(stored)
    problems.add(code, message)
    made = as_dict("unknown", _BROKEN_OFF, 0, problems, Profile())
    made |= {"row_format": None, "row_format_reason": _BROKEN_OFF, "as_uploaded": None}
    return {
        store_keys.ROWS: b"",
        store_keys.PROBLEMS: stored.getvalue(),
        store_keys.REPORT: json.dumps(made).encode(),
    }
