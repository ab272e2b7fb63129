"""Uploaded bytes on their way into the store: hashed as they stream, never held whole."""

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
    """The size and hash a caller declares; None if not declared."""

    num_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Upload:
    """Stored bytes, and what the caller declared about them."""

    dataset_id: str
    name: str
    format: str
    num_bytes: int
    sha256: str
    columns: dict[str, str] | None = None
    """The caller's mapping from our column names to the upload's."""


@dataclass
class Meter:
    """Counts and hashes the bytes that stream through it."""

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
        self, promise: Promise, advice: str = "Nothing was stored; send the file again."
    ) -> None:
        """Raises UploadMismatch."""
        if promise.num_bytes not in (None, self.num_bytes):
            raise UploadMismatch(
                f"{promise.num_bytes:,} bytes were declared, but {self.num_bytes:,} arrived. "
                f"{advice}"
            )
        if promise.sha256 not in (None, self.sha256):
            raise UploadMismatch(
                f"The declared sha256 is {promise.sha256}, but that of the bytes that arrived is "
                f"{self.sha256}. {advice}"
            )


def store(storage: Storage, dataset_id: str, chunks: Iterable[bytes]) -> Meter:
    """Store an upload, or nothing if `chunks` raises."""
    meter = Meter()
    storage.write(store_keys.dataset_upload(dataset_id), meter.through(chunks))
    return meter


def discard(storage: Storage, dataset_id: str) -> None:
    storage.delete_all(store_keys.dataset(dataset_id))
