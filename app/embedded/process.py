"""A child process in its own session that logs to a file and dies with its parent (`tether`)."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.embedded import tether
from app.embedded.account import Account

MAX_LOG_BYTES = 16 << 20
"""Size above which a log is renamed to `.log.1` at the next start."""


@dataclass(frozen=True)
class Program:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    """The complete environment; nothing is inherited."""
    working_dir: Path = Path("/")
    stdin: bytes = b""
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    """Signal sent by the kernel if the parent dies without having stopped it."""
    grace_seconds: float = 10
    """Time between `stop_signal` and SIGKILL of the whole process group."""
    inherited: tuple[int, ...] = ()
    """File descriptors that the child inherits."""


class Process:
    def __init__(self, program: Program, logs: Path) -> None:
        self.program = program
        self.name = program.name
        self.log = logs / f"{program.name}.log"
        self.started_at = 0.0
        """Time of the last start, on the monotonic clock."""
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._child.pid if self._child else 0

    def start(self) -> None:
        program = self.program
        if self._child:
            self._child.wait()  # already dead; this reaps it
        _set_aside(self.log)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                _tethered(program),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(program.environment),
                cwd=program.working_dir,
                start_new_session=True,
                pass_fds=program.inherited,
            )
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError), self._child.stdin as stdin:
            stdin.write(program.stdin)
        self.started_at = time.monotonic()

    def exit_status(self) -> int | None:
        """Return the exit status, or None while it is running."""
        return self._child.poll() if self._child else 0

    def reap(self) -> None:
        """Wait for it to end; kill it after the grace period."""
        if self._child:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(self.program.grace_seconds)
            self.kill_group()
            self._child.wait()

    def tail(self, num_lines: int = 12) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-num_lines:])
        return ""

    def kill_group(self) -> None:
        """Send SIGKILL to what remains of its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def stop(processes: Sequence[Process], *, hurry: bool = False) -> None:
    """Stop the processes in parallel, with all their descendants; none is left on return."""
    alive = [process for process in processes if process.exit_status() is None]
    family = [child for process in alive for child in _descendants(process.pid)]
    for process in alive:
        os.kill(process.pid, signal.SIGKILL if hurry else process.program.stop_signal)
    for process in alive:
        process.reap()
    for child in family:  # psutil compares start times: a recycled pid is not touched
        with contextlib.suppress(psutil.Error):
            child.kill()


def _tethered(program: Program) -> list[str]:
    account = program.account
    ids = (account.uid, account.gid) if account else (-1, -1)
    words = (os.getpid(), int(program.orphan_signal), *ids)
    return [sys.executable, "-I", "-S", tether.__file__, *map(str, words), *program.command]


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return list(psutil.Process(pid).children(recursive=True))
    return []


def _set_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.rename(log.with_suffix(".log.1"))
