"""Results that take too long for a request: counted once in the background, stored by key."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from app.core.storage import Storage
from app.services.counting.background import WAIT_SECONDS, Background


class StoredResults:
    def __init__(self, storage: Storage, name: str, at_a_time: int) -> None:
        self.storage = storage
        self.wait_seconds = WAIT_SECONDS
        self._name = name
        self._work = Background(name, at_a_time)

    def known(self, key: str) -> bytes | None:
        """Return what was counted earlier, or None; counts nothing."""
        try:
            return b"".join(self.storage.read(key))
        except FileNotFoundError:
            return None

    def get(self, key: str, count: Callable[[Path], None]) -> bytes:
        """Return what `count` wrote, now or earlier, to the path it is given, in its own folder.

        Raises StillRunning if it takes longer than a request should; the counting continues.
        """
        found = self.known(key)
        if found is None:
            return self._work.result(key, partial(self._count, key, count), self.wait_seconds)
        return found

    def close(self) -> None:
        self._work.close()

    def _count(self, key: str, count: Callable[[Path], None]) -> bytes:
        with tempfile.TemporaryDirectory(prefix=f"tunesmith-{self._name}-") as folder:
            out = Path(folder) / PurePosixPath(key).name
            count(out)
            self.storage.write_file(key, out)
            return out.read_bytes()
