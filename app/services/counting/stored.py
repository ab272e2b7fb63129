"""What takes too long for a request: counted once in the background, kept in the store by key."""

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

    def get(self, key: str, count: Callable[[Path], None]) -> bytes:
        """What `count` wrote to the path it was given, in a folder of its own; now or before.

        Raises StillRunning when it takes longer than a request should; the counting goes on.
        """
        try:
            return b"".join(self.storage.read(key))
        except FileNotFoundError:
            return self._work.result(key, partial(self._count, key, count), self.wait_seconds)

    def close(self) -> None:
        self._work.close()

    def _count(self, key: str, count: Callable[[Path], None]) -> bytes:
        with tempfile.TemporaryDirectory(prefix=f"tunesmith-{self._name}-") as folder:
            out = Path(folder) / PurePosixPath(key).name
            count(out)
            self.storage.write_file(key, out)
            return out.read_bytes()
