"""Kills processes that dead supervisors of this machine left running, before a job is claimed.

A run is recorded before its trainer starts. Its processes are found by the token in their
environment and not by pid, which may have been reused.
"""

import json
import os
import secrets
import signal
import socket
from pathlib import Path
from typing import Any

import structlog

from worker import processes

_NOTE = "process.json"
_log = structlog.get_logger(__name__)


def note_run(run_dir: Path) -> str:
    """Record which supervisor owns the run; return the token for its processes' environment."""
    token = secrets.token_hex(16)
    note = {
        "token": token,
        "host": socket.gethostname(),
        "supervisor_pid": os.getpid(),
        "supervisor_ticks": processes.start_ticks(os.getpid()),
    }
    partial = run_dir / f"{_NOTE}.partial"
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(note))
    partial.replace(run_dir / _NOTE)
    return token


def forget_run(run_dir: Path) -> None:
    (run_dir / _NOTE).unlink(missing_ok=True)


def sweep(runs_dir: Path) -> int:
    """Kill the processes of runs whose supervisor is dead; return how many were killed."""
    num_killed = 0
    for path in runs_dir.glob(f"*/*/{_NOTE}"):
        note = _read(path)
        if note is None or note["host"] != socket.gethostname() or _is_supervised(note):
            continue
        for pid in processes.with_token(note["token"]):
            _log.warning("orphan_killed", pid=pid, run_dir=str(path.parent))
            processes.kill(pid, signal.SIGKILL)
            num_killed += 1
        forget_run(path.parent)
    return num_killed


def _is_supervised(note: dict[str, Any]) -> bool:
    ticks = processes.start_ticks(note["supervisor_pid"])
    return ticks is not None and ticks == note["supervisor_ticks"]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None
