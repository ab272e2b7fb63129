"""Bytes on their way into the store: hashed as they pass, never held whole."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.core.storage import Storage


@dataclass(frozen=True)
class Upload:
    """Bytes that are stored, and what the caller said about them."""

    dataset_id: str
    name: str
    format: str
    num_bytes: int
    sha256: str
    columns: dict[str, str] | None = None
    """Our column to the upload's."""


@dataclass
class Meter:
    """Counts and hashes what runs through it."""

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256()
        self.num_bytes = 0

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._digest.update(chunk)
            self.num_bytes += len(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def store(storage: Storage, dataset_id: str, chunks: Iterable[bytes]) -> Meter:
    """All of it or, when `chunks` raises, nothing."""
    meter = Meter()
    storage.write(f"datasets/{dataset_id}/upload", meter.through(chunks))
    return meter


def discard(storage: Storage, dataset_id: str) -> None:
    storage.delete_all(f"datasets/{dataset_id}/")
