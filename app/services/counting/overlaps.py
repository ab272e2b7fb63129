"""Rows that two datasets share: counted once, stored beside the first one's rows."""

import json
from functools import partial
from itertools import chain
from pathlib import Path

import structlog

from app.core import store_keys
from app.core.db.models import Dataset, Json
from app.core.sandbox import child
from app.core.sandbox.child import ChildFailed
from app.core.storage import Storage
from app.services.counting.background import StillRunning
from app.services.counting.lengths import Measuring, NotMeasured
from app.services.counting.stored import StoredResults
from app.services.datasets import all_rows

VERSION = 1
"""Incremented when the same rows would be counted differently."""
_log = structlog.get_logger(__name__)


class Overlaps(StoredResults):
    """Counts in a child, one at a time: two datasets of 500,000 rows take 5 s."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, "overlap", 1)

    def between(self, first: Dataset, other: Dataset) -> Json:
        """Raises Measuring if it takes longer than a request should; the counting continues."""
        key = store_keys.overlap(first.id, other.id, VERSION)
        try:
            found = self.get(key, partial(self._count_shared, first.id, other.id))
        except StillRunning:
            raise Measuring(first.id) from None
        return {"dataset": first.id, "other": other.id, **json.loads(found)}

    def _count_shared(self, first: str, other: str, out: Path) -> None:
        rows = chain(all_rows(self.storage, other), [b"\n\n"], all_rows(self.storage, first))
        try:
            child.run("app.core.datasets.overlap", [out], rows)
        except ChildFailed as failed:
            _log.warning("overlap_failed", dataset_id=first, other=other, said=failed.said)
            message = "The rows of these datasets could not be compared."
            raise NotMeasured(message) from failed
