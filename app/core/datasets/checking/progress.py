"""How far a check is: written by the child, read by whoever waits for it."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Progress:
    """Writes now and then, and whole: a reader never sees half of it."""

    def __init__(self, path: Path, sizes: Sequence[int], every_seconds: float) -> None:
        self._path = path
        self._sizes = sizes
        self._total = max(sum(sizes), 1)
        self._every_seconds = every_seconds
        self._next = time.monotonic() + every_seconds

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._next

    def write(self, file: int, share: float, num_rows: int) -> None:
        """`share` of the file with that number is read."""
        self._next = time.monotonic() + self._every_seconds
        done = sum(self._sizes[:file]) + share * self._sizes[file]
        told = {"fraction": round(min(done / self._total, 1.0), 4), "rows": num_rows}
        partial = self._path.with_suffix(".part")
        partial.write_text(json.dumps(told), encoding="ascii")
        partial.replace(self._path)


def read(path: Path) -> dict[str, Any] | None:
    """{fraction, rows}; None while nothing was written."""
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(1024))
        return {"fraction": float(told["fraction"]), "rows": int(told["rows"])}
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
