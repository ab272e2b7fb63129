"""Runs `tunesmith up` as a child process of another command and stops it with that command."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.settings import Settings
from app.embedded import files
from app.embedded.errors import StartFailed
from app.embedded.process import Process, Program, stop

READY_SECONDS = 180.0
_CODE = Path(__file__).parents[2]


class Up:
    """A stack in a child process; it may not be ready yet."""

    def __init__(self, settings: Settings) -> None:
        self._data_dir = files.make_data_dir(settings.data_dir)
        self.process = Process(_program(settings, self._data_dir), self._data_dir / "logs")
        self.process.log.unlink(missing_ok=True)

    @property
    def runs(self) -> bool:
        return self.process.exit_status() is None

    def ready(self) -> files.State:
        """Wait until the stack is ready. Raises StartFailed with the end of its log."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            state = files.running(self._data_dir)
            if state and state.pid == self.process.pid:
                return state
            if not self.runs:
                what = "did not start"
            elif time.monotonic() > deadline:
                what = "was not ready in time"
            else:
                time.sleep(0.05)
                continue
            raise StartFailed("The stack", what, self.process.log, self.process.tail())


@contextmanager
def stack(settings: Settings) -> Iterator[Up]:
    """Run a stack; it is stopped, children included, however the context ends."""
    up = Up(settings)
    up.process.start()
    try:
        yield up
    finally:
        stop([up.process])


def _program(settings: Settings, data_dir: Path) -> Program:
    words = {
        "--data-dir": data_dir,
        "--models-dir": settings.models_dir.absolute(),
        "--port": settings.port,
    }
    return Program(
        name="up",
        command=[
            *(sys.executable, "-m", "app.cli", "up"),
            *(str(word) for option in words.items() for word in option),
        ],
        environment=dict(os.environ),
        working_dir=_CODE,
        orphan_signal=signal.SIGTERM,  # on SIGTERM it stops its own children in order
        grace_seconds=settings.stop_grace_seconds + 40,
    )
