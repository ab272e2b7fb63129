"""Run a module of ours in a sandboxed child, which may crash, hang or run out of memory."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# -I removes the working directory and PYTHONPATH from sys.path; only the folder that holds `app` is
# added again: after the standard library, so that nothing in it shadows that, and before installed
# packages, which may include another copy of `app`. Limits are set before anything else is
# imported. The child dies with its parent; the alarm is for platforms where it does not.
_BOOT = (
    "import resource as r, runpy, signal, sys\n"
    "module, root, memory, cpu, file, wall, parent = sys.argv[1:8]\n"
    "r.setrlimit(r.RLIMIT_AS, (int(memory),) * 2)\n"
    "r.setrlimit(r.RLIMIT_CPU, (int(cpu), int(cpu) + 5))\n"
    "r.setrlimit(r.RLIMIT_FSIZE, (int(file),) * 2)\n"
    "r.setrlimit(r.RLIMIT_CORE, (0, 0))\n"
    "signal.setitimer(signal.ITIMER_REAL, float(wall))\n"
    "at = [n for n, path in enumerate(sys.path) if 'site-packages' in path] or [len(sys.path)]\n"
    "sys.path.insert(at[0], root)\n"
    "del sys.argv[1:8]\n"
    "from app.core.sandbox.confine import confine, end_with\n"
    "end_with(int(parent))\n"
    "confine()\n"
    "runpy.run_module(module, run_name='__main__', alter_sys=True)\n"
)
_ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve far more than they use
    "ARROW_IO_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "true",
}
REFUSED = 3
"""Exit status that means: standard error holds a message for the caller."""
_LATE_SECONDS = 5
"""A child is killed this long after its own alarm."""


@dataclass(frozen=True)
class Limits:
    memory_bytes: int = 4 << 30
    """Address space; a tokenizer's threads reserve much of it and touch little."""
    cpu_seconds: int = 600
    wall_seconds: float = 600
    file_bytes: int = 1 << 40
    """Size of each file it writes."""


def refuse(message: str) -> int:
    """Write a message for the caller; return the exit status for the `main` of a child's module."""
    print(message[:500], file=sys.stderr)
    return REFUSED


class ChildFailed(Exception):
    """The child's exit status is not 0; a negative one is a signal, as in subprocess: -SIGXCPU or
    -SIGALRM at a time limit.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"status {status}: {said[-2000:]}")
        self.status = status
        self.said = said


def run(
    module: str, arguments: Iterable[object], feed: Iterable[bytes], limits: Limits | None = None
) -> None:
    """Run `python -m module arguments` with `feed` as its standard input. Raises ChildFailed, or
    OSError if it cannot be started.

    It inherits no environment and no open file except its input, and has no network; it writes its
    results where `arguments` say. What `feed` raises is raised here, once the process has ended.
    """
    limits = limits or Limits()
    with tempfile.TemporaryFile() as stderr:
        child = _start(module, arguments, stderr.fileno(), limits)
        watch = threading.Timer(limits.wall_seconds + _LATE_SECONDS, _kill, [child])
        watch.daemon = True
        watch.start()
        try:
            _write(feed, child)
            child.wait()
        finally:
            watch.cancel()
            _kill(child)
            child.wait()
        if child.returncode != 0:
            stderr.seek(0)
            raise ChildFailed(child.returncode, stderr.read(1 << 16).decode(errors="replace"))


def _start(
    module: str, arguments: Iterable[object], stderr: int, limits: Limits
) -> subprocess.Popen[bytes]:
    numbers = (
        limits.memory_bytes,
        limits.cpu_seconds,
        limits.file_bytes,
        limits.wall_seconds,
        os.getpid(),
    )
    command = [sys.executable, "-I", "-X", "utf8", "-c", _BOOT, module, _ROOT, *numbers, *arguments]
    return subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


def _write(feed: Iterable[bytes], child: subprocess.Popen[bytes]) -> None:
    assert child.stdin
    try:
        for chunk in feed:
            child.stdin.write(chunk)
    except BrokenPipeError:
        pass  # it ended early: its status gives the reason
    finally:
        with suppress(BrokenPipeError):
            child.stdin.close()


def _kill(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
