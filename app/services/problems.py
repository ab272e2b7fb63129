"""All problems of a dataset, from the file its validation wrote: page by page, or whole.

An entry's cursor is the offset after its line, so that the next page needs no counting.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.core import store_keys
from app.core.db.models import Dataset
from app.core.storage import Storage
from app.services.datasets import ReportMissing


@dataclass(frozen=True)
class ProblemFilter:
    code: str | None = None
    severity: str | None = None

    def holds(self, line: bytes) -> bool:
        """The last entry, which says that the list was truncated, always passes the filter."""
        code, severity = _code_and_severity(line)
        if code == "problems_truncated":
            return True
        return self.code in (None, code) and self.severity in (None, severity)

    @property
    def is_all(self) -> bool:
        return self.code is None and self.severity is None


@dataclass(frozen=True)
class Found:
    data: list[dict[str, Any]]
    has_more: bool


def page(
    storage: Storage, dataset: Dataset, filters: ProblemFilter, after: int, limit: int
) -> Found:
    """Return entries in file order after the cursor `after`; 0 is the beginning."""
    found: list[dict[str, Any]] = []
    for end, line in _lines(storage, _key(storage, dataset), after):
        if not filters.holds(line):
            continue
        if len(found) == limit:
            return Found(found, has_more=True)
        found.append({"n": end, **json.loads(line)})
    return Found(found, has_more=False)


def stream(storage: Storage, dataset: Dataset, filters: ProblemFilter) -> Iterator[bytes]:
    """Yield the whole list, one line of JSON per entry."""
    key = _key(storage, dataset)
    if filters.is_all:
        return storage.read(key)
    return (line + b"\n" for _, line in _lines(storage, key, 0) if filters.holds(line))


def _key(storage: Storage, dataset: Dataset) -> str:
    key = store_keys.problems(dataset.id)
    if not storage.exists(key):
        raise ReportMissing(f"Dataset {dataset.id!r} has no list of problems; upload it again.")
    return key


def _lines(storage: Storage, key: str, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that begin at or after an offset, each with the offset after it."""
    # From the byte before: it ends a line if one begins at `start`; else a partial line is skipped.
    at, is_whole, rest = max(start - 1, 0), start == 0, b""
    for chunk in storage.read(key, at):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            at += len(line) + 1
            if is_whole:
                yield at, line
            is_whole = True


def _code_and_severity(line: bytes) -> tuple[str, str]:
    """Find code and severity without parsing: no text before them contains an unescaped quote."""
    _, _, rest = line.partition(b',"code":"')
    code, _, rest = rest.partition(b'","severity":"')
    return code.decode(), rest.partition(b'"')[0].decode()
