"""A group of child processes: started one by one, restarted when they die, stopped together."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.embedded.errors import StartFailed, Stopped
from app.embedded.process import Process, Program, stop

Say = Callable[[str], None]
Wait = Callable[[float], bool]
"""Sleeps for up to that many seconds; returns True once a stop has been requested."""

FIRST_DELAY_SECONDS = 0.5
"""Delay before the second restart. The first is immediate; each later one waits twice as long."""
MAX_DELAY_SECONDS = 30.0
SETTLED_SECONDS = 60.0
"""A process that ran for this long is restarted immediately again."""


class ProcessGroup:
    def __init__(self, logs: Path, wait: Wait, say: Say) -> None:
        self._logs = logs
        self._wait = wait
        self._say = say
        self._processes: list[Process] = []
        self._delays: dict[str, float] = {}
        self._due: dict[str, float] = {}

    @property
    def pids(self) -> dict[str, int]:
        return {process.name: process.pid for process in self._processes}

    def start(self, program: Program) -> Process:
        process = Process(program, self._logs)
        self._processes.append(process)
        process.start()
        return process

    def until(self, ready: Callable[[], bool], seconds: float, *needed: Process) -> None:
        """Wait for a condition. Raises StartFailed if a needed process ends first or time runs out,
        and Stopped if a stop is requested.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            for process in needed:
                if (status := process.exit_status()) is not None:
                    what = f"ended with status {status} before it was ready"
                    raise StartFailed(process.name, what, process.log, process.tail())
            if time.monotonic() > deadline:
                last = needed[-1]
                what = f"was not ready after {seconds:.0f} s"
                raise StartFailed(last.name, what, last.log, last.tail())
            if self._wait(0.05):
                raise Stopped

    def revive(self) -> bool:
        """Restart dead processes whose delay has passed; return True if any was restarted."""
        restarted = [process for process in self._processes if self._revive(process)]
        return bool(restarted)

    def stop(self, names: Sequence[str], *, hurry: bool = False) -> None:
        """Stop the named processes together; names that were not started are ignored."""
        stopping = [process for process in self._processes if process.name in names]
        self._processes = [process for process in self._processes if process not in stopping]
        stop(stopping, hurry=hurry)

    def _revive(self, process: Process) -> bool:
        status = process.exit_status()
        if status is None:
            return False
        name = process.name
        if name not in self._due:
            self._due[name] = time.monotonic() + self._next_delay(process)
            self._say(f"{name} died ({_cause(status)}); restarting it. Log: {process.log}")
        if time.monotonic() < self._due[name]:
            return False
        del self._due[name]
        process.kill_group()
        process.start()
        return True

    def _next_delay(self, process: Process) -> float:
        """Return the delay in seconds before this restart, and set the one for the next."""
        settled = time.monotonic() - process.started_at > SETTLED_SECONDS
        delay = 0.0 if settled else self._delays.get(process.name, 0.0)
        self._delays[process.name] = min(max(delay * 2, FIRST_DELAY_SECONDS), MAX_DELAY_SECONDS)
        return delay


def _cause(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
