"""Processes as /proc shows them: alive or not, process group, start time, run token."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

TOKEN_VARIABLE = "TUNESMITH_RUN_TOKEN"
"""Set in the environment of a trainer and its children; `orphans` finds leftover ones by it."""

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> bool:
    """Have the kernel kill this process when the thread that started it ends (PDEATHSIG).

    Return False if `parent` had already exited: then the signal will never come.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


def pids() -> Iterator[int]:
    yield from (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def start_ticks(pid: int) -> int | None:
    """Clock ticks from boot to a live process's start; None when it is gone or a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def group_members(group: int) -> list[int]:
    """Live processes of a group. Zombies are left out: they may have no parent to reap them."""
    members = []
    for pid in pids():
        fields = _stat(pid)
        if fields is not None and int(fields[2]) == group and fields[0] not in "ZX":
            members.append(pid)
    return members


def with_token(token: str) -> list[int]:
    """Live processes with a run's token in their environment."""
    entry = f"{TOKEN_VARIABLE}={token}".encode()
    return [pid for pid in pids() if entry in _environment(pid)]


def kill_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third one (state) on; None if the process is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the name in parentheses and may contain anything.
    return text.rpartition(")")[2].split()


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
