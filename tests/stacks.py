"""A whole stack as users start it: a `tunesmith up` process on free ports."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from app.embedded import files
from app.embedded.process import Process, Program, stop
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
SHORT_TIMES = {
    "TUNESMITH_LEASE_SECONDS": "6",
    "TUNESMITH_RENEW_SECONDS": "1",
    "TUNESMITH_RECLAIM_SECONDS": "1",
    "TUNESMITH_WAKE_SECONDS": "2",
    "TUNESMITH_STOP_GRACE_SECONDS": "10",
    "TUNESMITH_RETRY_BASE_SECONDS": "0.2",
}


class RunningStack:
    """`tunesmith up` on a folder. It ends with the test run, even if that is killed."""

    def __init__(
        self, data_dir: Path, models_dir: Path, environment: Mapping[str, str], *words: str
    ) -> None:
        self.data_dir = data_dir
        command = [sys.executable, "-m", "app.cli", "up", "--no-durable", "--port", "0"]
        folders = ["--data-dir", str(data_dir), "--models-dir", str(models_dir)]
        program = Program(
            name="up",
            command=[*command, *folders, *words],
            environment={**_as_found(), **SHORT_TIMES, **environment},
            working_dir=ROOT,
            orphan_signal=signal.SIGTERM,
            grace_seconds=60,
        )
        self._up = Process(program, data_dir.parent)

    def start(self, timeout: float = 90) -> None:
        """Return when the stack is ready; fail with the output of `up` if it exits."""
        self._up.start()
        wait_until(lambda: self._is_up() or self._up.exit_status() is not None, timeout)
        assert self._up.exit_status() is None, self.output

    def stop(self) -> None:
        stop([self._up])

    @property
    def output(self) -> str:
        """The output of `up`."""
        return self._up.tail(1000)

    @property
    def state(self) -> files.State:
        state = files.running(self.data_dir)
        assert state, f"the stack is not up: {self.output}"
        return state

    @property
    def url(self) -> str:
        return self.state.url

    @property
    def exit_status(self) -> int | None:
        return self._up.exit_status()

    def client(self, timeout: float = 30) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)

    def pid(self, name: str) -> int:
        """Pid of `postgres`, `valkey`, `api`, `housekeeper`, `worker`, or of `up` itself."""
        return self._up.pid if name == "up" else self.state.processes[name]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal; return the pid it was sent to."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def wait_restarted(self, name: str, old_pid: int, timeout: float = 20) -> int:
        """Wait until `up` has started a successor; return its pid. It may not be ready yet."""
        wait_until(lambda: self.pid(name) != old_pid, timeout)
        return self.pid(name)

    def _is_up(self) -> bool:
        return files.running(self.data_dir) is not None


def _as_found() -> dict[str, str]:
    """The environment without the HF_* variables that the trainer's tests set in this process."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
