"""A worker's single slot: the process that runs a job on its device holds a file lock. A second
file beside the lock requests a drain.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Slot:
    data_dir: Path
    worker_id: str

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Yield whether the slot was free. It is held until the block, or this process, ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield _lock(descriptor)
        finally:
            os.close(descriptor)

    @property
    def is_draining(self) -> bool:
        return self._path("drain").exists()

    def drain(self) -> None:
        """Request a drain: stop the running job at its next checkpoint and claim no other."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path("drain").touch()

    def reopen(self) -> None:
        """Remove a drain request left from an earlier worker of the same name."""
        self._path("drain").unlink(missing_ok=True)

    def forget(self) -> None:
        """Delete the files of a worker that has shut down."""
        self.reopen()
        self._path("lock").unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        return self.data_dir.absolute() / "workers"

    def _path(self, suffix: str) -> Path:
        name = hashlib.sha256(self.worker_id.encode()).hexdigest()[:32]
        return self._folder / f"{name}.{suffix}"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
