"""Bytes on their way into the store: hashed as they pass, never held whole."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.core import store_keys
from app.core.errors import Invalid
from app.core.storage import Storage


class UploadMismatch(Invalid):
    code = "upload_mismatch"


@dataclass(frozen=True)
class Promise:
    """What a caller says its bytes are; None: did not say."""

    num_bytes: int | None = None
    sha256: str | None = None


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

    def verify(
        self, promise: Promise, advice: str = "nothing was kept, send the file again"
    ) -> None:
        """Raises UploadMismatch."""
        if promise.num_bytes not in (None, self.num_bytes):
            raise UploadMismatch(
                f"{promise.num_bytes:,} bytes were promised, {self.num_bytes:,} came; {advice}."
            )
        if promise.sha256 not in (None, self.sha256):
            raise UploadMismatch(
                f"The sha256 promised is {promise.sha256}, that of the bytes that came "
                f"{self.sha256}; {advice}."
            )


def store(storage: Storage, dataset_id: str, chunks: Iterable[bytes]) -> Meter:
    """All of it or, when `chunks` raises, nothing."""
    meter = Meter()
    storage.write(store_keys.dataset_upload(dataset_id), meter.through(chunks))
    return meter


def discard(storage: Storage, dataset_id: str) -> None:
    storage.delete_all(store_keys.dataset(dataset_id))
