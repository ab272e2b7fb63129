"""Datasets and artifacts as objects in a local folder or S3, through obstore.

`app.core.store_keys` defines the keys.
"""

import errno
import hashlib
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from app.core.clock import utc_now
from app.core.settings import Settings

CHUNK_BYTES = 1 << 20
PIECE_BYTES = 8 << 20
PIECES_AT_A_TIME = 2
"""In flight per object. obstore's default of 12 holds 100 MB if the disk is slower than the sender.
"""
_FULL = re.compile(r"\(os error (28|122)\)|XMinioStorageFull|507 Insufficient Storage")
"""ENOSPC and EDQUOT of a local folder, and the errors of S3-compatible stores."""


_UNFINISHED = re.compile(r".+#\d+")
"""The name obstore gives a local file until it is complete."""


class StorageFull(OSError):
    """No space left for an object; none of it was stored."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, "No space left in the store")


class Storage:
    """Objects by key. Reads and writes are streamed: no object is ever held in memory whole."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        """`folder`: the root of a local store."""
        self._store = store
        self._folder = folder

    def write(self, key: str, chunks: Iterable[bytes]) -> None:
        """Write an object atomically: a local file is renamed into place, S3 completes a multipart
        upload. Raises StorageFull.
        """
        try:
            obstore.put(
                self._store,
                key,
                iter(chunks),
                chunk_size=PIECE_BYTES,
                max_concurrency=PIECES_AT_A_TIME,
            )
        except BaseError as error:
            if _FULL.search(str(error)):
                raise StorageFull from error
            raise

    def write_file(self, key: str, path: Path) -> None:
        with path.open("rb") as file:
            self.write(key, iter(lambda: file.read(CHUNK_BYTES), b""))

    def concatenate(self, keys: Iterable[str]) -> Iterator[bytes]:
        """Yield the bytes of several objects, for `write`: it pulls chunks where obstore cannot
        read, so each is read on another thread.
        """
        chunks = chain.from_iterable(map(self.read, keys))
        with ThreadPoolExecutor(1) as reader:
            pending = reader.submit(next, chunks, None)
            while (chunk := pending.result()) is not None:
                pending = reader.submit(next, chunks, None)
                yield chunk

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield bytes start..end (exclusive) in chunks. Raises FileNotFoundError."""
        if (start, end) == (0, None):
            yield from map(bytes, obstore.get(self._store, key).stream(CHUNK_BYTES))
            return
        last = self.size(key) if end is None else end
        while start < last:
            step = min(start + CHUNK_BYTES, last)
            yield bytes(obstore.get_range(self._store, key, start=start, end=step))
            start = step

    def read_file(self, key: str, path: Path) -> str:
        """Copy an object into a local file and return its SHA-256."""
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for chunk in self.read(key):
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    def size(self, key: str) -> int:
        """Return an object's size in bytes. Raises FileNotFoundError."""
        return int(obstore.head(self._store, key)["size"])

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except FileNotFoundError:
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        for batch in obstore.list(self._store, prefix):
            yield from (item["path"] for item in batch)

    def old_keys(self, prefix: str, seconds: float) -> Iterator[str]:
        """Yield the keys last written more than `seconds` ago."""
        limit = utc_now() - timedelta(seconds=seconds)
        for batch in obstore.list(self._store, prefix):
            yield from (item["path"] for item in batch if item["last_modified"] < limit)

    def delete_all(self, prefix: str) -> None:
        """Delete every object under a prefix that ends in a slash."""
        self.delete(list(self.keys(prefix)))

    def drop_unfinished(self, older_than_seconds: float) -> int:
        """Delete partial files that killed writers left in a local store, where no listing shows
        them, and return their number. On S3 a lifecycle rule does this.
        """
        found = self._folder.rglob("*#*") if self._folder else ()
        num_dropped = 0
        for path in found:
            if _UNFINISHED.fullmatch(path.name) and _age(path) > older_than_seconds:
                path.unlink(missing_ok=True)
                num_dropped += 1
        return num_dropped

    def delete(self, keys: list[str]) -> None:
        if keys:
            obstore.delete(self._store, keys)


def open_storage(settings: Settings) -> Storage:
    """Open the store TUNESMITH_STORAGE_URL names. Raises ValueError for an unknown scheme."""
    url = urlsplit(settings.store_url)
    if url.scheme == "file":
        return Storage(LocalStore(url.path, mkdir=True), Path(url.path))
    if url.scheme == "s3":
        return Storage(_s3(settings, url.netloc, url.path.strip("/")))
    raise ValueError(f"TUNESMITH_STORAGE_URL must be file:///... or s3://..., not {url.scheme}://")


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # the writer has finished meanwhile
        return 0.0


def _s3(settings: Settings, bucket: str, prefix: str) -> S3Store:
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    options = {
        "endpoint": settings.s3_endpoint,
        "access_key_id": key and key.get_secret_value(),
        "secret_access_key": secret and secret.get_secret_value(),
    }
    given = {name: value for name, value in options.items() if value}
    is_plain = (settings.s3_endpoint or "").startswith("http://")
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=settings.s3_region,
        client_options={"allow_http": is_plain},
        **given,  # type: ignore[arg-type]
    )
