"""What of one dataset stands in another: counted once, kept beside the first one's rows."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import structlog

from app.core.datasets import child
from app.core.datasets.child import ChildFailed
from app.core.db.models import Dataset, Json
from app.core.storage import Storage
from app.services import datasets
from app.services.background import WAIT_SECONDS, Background, StillRunning
from app.services.measures import Measuring, NotMeasured

VERSION = 1
"""Raised when the same rows would be counted otherwise."""
_log = structlog.get_logger(__name__)


@dataclass
class Overlaps:
    """Counts in a child, one at a time: two datasets of 500,000 rows take it 5 s."""

    storage: Storage
    wait_seconds: float = WAIT_SECONDS
    _work: Background = field(default_factory=lambda: Background("overlap", 1))

    def between(self, first: Dataset, other: Dataset) -> Json:
        """Raises Measuring when it takes longer than a request should; the counting goes on."""
        key = f"datasets/{first.id}/overlap/{VERSION}-{other.id}.json"
        kept = self._read(key)
        if kept is None:
            try:
                count = partial(self._count, key, first.id, other.id)
                kept = self._work.result(key, count, self.wait_seconds)
            except StillRunning:
                raise Measuring(first.id) from None
        return {"dataset": first.id, "other": other.id, **kept}

    def close(self) -> None:
        self._work.close()

    def _read(self, key: str) -> Json | None:
        try:
            kept: Json = json.loads(b"".join(self.storage.read(key)))
        except FileNotFoundError:
            return None
        return kept

    def _count(self, key: str, first: str, other: str) -> Json:
        rows = chain(self._rows(other), [b"\n\n"], self._rows(first))
        with tempfile.TemporaryDirectory(prefix="tunesmith-overlap-") as folder:
            out = Path(folder) / "overlap.json"
            try:
                child.run("app.core.datasets.overlap", [out], rows)
            except ChildFailed as failed:
                _log.warning("overlap_failed", dataset_id=first, other=other, said=failed.said)
                message = "The rows of these datasets could not be compared."
                raise NotMeasured(message) from failed
            self.storage.write_file(key, out)
            found: Json = json.loads(out.read_text())
        return found

    def _rows(self, dataset_id: str) -> Iterator[bytes]:
        """A dataset without a good row has no rows to read."""
        try:
            yield from self.storage.read(datasets.rows_key(dataset_id))
        except FileNotFoundError:
            return
