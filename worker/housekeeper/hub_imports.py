"""Fetches the files of an import from the Hub into the store; it is then validated like an upload.

A stored file is complete and checked, so that a retry continues after the last one.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from obstore.exceptions import BaseError as StoreError

from app.core import store_keys
from app.core.datasets import content, hub
from app.core.datasets.hub import File, HubFileWrong, HubUnavailable, Source
from app.core.datasets.hub_files import HubRefused
from app.core.datasets.status import DatasetStatus
from app.core.db.models import NOW, Dataset
from app.core.db.session import OUTAGE, Sessions
from app.core.settings import Settings
from app.core.storage import Storage
from worker.housekeeper.dataset_claims import Claims
from worker.housekeeper.intake import temporary

_log = structlog.get_logger(__name__)
MAX_TRIES = 10
"""Tries per process while the Hub is unavailable, one per `lease_seconds`."""
MAX_WRONG = 3
"""Tries for a file that differs from what the Hub announced, or after a crash."""

Fetch = Callable[[Settings, Source, File, Path], None]


@dataclass
class Imports:
    settings: Settings
    sessions: Sessions
    storage: Storage
    fetch: Fetch = hub.fetch
    _num_tries: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._claims = Claims(self.settings, self.sessions)

    def take_one(self) -> bool:
        """Fetch the oldest import that is not in the store yet. False when idle."""
        dataset = self._claims.take(Dataset.sha256.is_(None))
        if dataset is None:
            return False
        with structlog.contextvars.bound_contextvars(dataset_id=dataset.id):
            self._import(dataset)
        return True

    def _import(self, dataset: Dataset) -> None:
        """After a failure the claim is left to expire: nobody retries before that."""
        try:
            with self._claims.held(dataset.id):
                sha256 = self._fetch_files(dataset)
            self._finish(dataset.id, sha256=sha256)
        except HubRefused as refused:
            self._give_up(dataset.id, "hub_import_refused", refused.detail)
        except HubUnavailable as away:
            self._note_failure(dataset.id, "hub_unavailable", away.detail, MAX_TRIES)
        except HubFileWrong as wrong:
            self._note_failure(dataset.id, "hub_file_wrong", str(wrong), MAX_WRONG)
        except OUTAGE:
            raise
        except (StoreError, OSError) as error:
            _log.warning("storage_unavailable", error=type(error).__name__)
        except Exception:
            _log.exception("import_failed")
            message = "The import failed unexpectedly."
            self._note_failure(dataset.id, "validator_crashed", message, MAX_WRONG)

    def _fetch_files(self, dataset: Dataset) -> str:
        """Store all files; return the SHA-256 of their concatenated bytes."""
        source = Source.from_dict(dataset.source or {})
        digest = hashlib.sha256()
        keys = content.content_keys(dataset.id, dataset.source)
        with temporary(self.settings) as folder:
            for key, file in zip(keys, source.files, strict=True):
                path = folder / "file"
                if self._is_stored(key, file):
                    self.storage.read_file(key, path)
                else:
                    self.fetch(self.settings, source, file, path)
                    self.storage.write_file(key, path)
                with path.open("rb") as fetched:
                    while chunk := fetched.read(1 << 20):
                        digest.update(chunk)
        return digest.hexdigest()

    def _is_stored(self, key: str, file: File) -> bool:
        try:
            return self.storage.size(key) == file.bytes
        except FileNotFoundError:
            return False

    def _note_failure(self, dataset_id: str, code: str, message: str, most: int) -> None:
        tries = self._num_tries[dataset_id] = self._num_tries.get(dataset_id, 0) + 1
        _log.warning("import_delayed", code=code, reason=message, tries=tries)
        if tries >= most:
            self._give_up(dataset_id, code, message)

    def _give_up(self, dataset_id: str, code: str, message: str) -> None:
        content.store_broken_off(self.storage, dataset_id, code, message)
        invalid = {"status": DatasetStatus.INVALID, "num_rows": 0, "num_valid_rows": 0}
        self._finish(dataset_id, validated_at=NOW, **invalid)
        _log.warning("import_given_up", code=code)

    def _finish(self, dataset_id: str, **values: object) -> None:
        still_exists = self._claims.release(dataset_id, **values)
        self._num_tries.pop(dataset_id, None)
        if not still_exists:
            self.storage.delete_all(store_keys.dataset(dataset_id))
