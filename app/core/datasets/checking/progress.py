"""The progress of a check: written by the child, read by the process that waits for it."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Progress:
    """Writes the progress at intervals and atomically: a reader never sees half a file."""

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
        """Write the progress: `share` of the file with this number has been read."""
        self._next = time.monotonic() + self._every_seconds
        done = sum(self._sizes[:file]) + share * self._sizes[file]
        payload = {"fraction": round(min(done / self._total, 1.0), 4), "rows": num_rows}
        partial = self._path.with_suffix(".part")
        partial.write_text(json.dumps(payload), encoding="ascii")
        partial.replace(self._path)


def read(path: Path) -> dict[str, Any] | None:
    """Return {fraction, rows}, or None if nothing valid has been written."""
    try:
        with path.open("rb") as file:
            payload = json.loads(file.read(1024))
        return {"fraction": float(payload["fraction"]), "rows": int(payload["rows"])}
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
