"""Real worker and housekeeper processes, started by a test."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.settings import Settings
from tests.stacks import ROOT
from tests.worker.bench import FAKE_TRAINER
from worker import processes

_PASSED = (
    "database_url", "redis_url", "models_dir", "data_dir", "lease_seconds", "renew_seconds",
    "reclaim_seconds", "wake_seconds", "stop_grace_seconds", "stall_seconds", "retry_base_seconds",
    "log_format", "queue", "device", "outage_seconds",
)  # fmt: skip


def environment(settings: Settings) -> dict[str, str]:
    import json

    named = {f"TUNESMITH_{name.upper()}": str(getattr(settings, name)) for name in _PASSED}
    return {**os.environ, **named, "TUNESMITH_TRAINER_COMMAND": json.dumps(FAKE_TRAINER)}


class Process:
    """One of our programs, in its own session, with its output in a file."""

    def __init__(self, module: str, settings: Settings, log: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                env=environment(settings),
                cwd=ROOT,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        processes.kill_group(self.pid, number)

    def kill(self) -> None:
        """Kill only the main process, as the kernel or a person would."""
        self._process.kill()
        self._process.wait()

    def end(self, timeout: float = 30) -> int:
        self._process.terminate()
        return self._process.wait(timeout)

    def clear(self) -> None:
        self.send_group(signal.SIGCONT)
        self.send_group(signal.SIGKILL)
        self._process.wait()

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")


@contextmanager
def running(module: str, settings: Settings, name: str = "") -> Iterator[Process]:
    """Run `worker` or `worker.housekeeper`; kill its process group at the end."""
    folder = settings.data_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    process = Process(module, settings, folder / f"{name or module}.log")
    try:
        yield process
    finally:
        process.clear()
