"""A module of ours in a process of its own, that may crash, hang or bloat as it likes."""

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

# -I leaves out the working directory and PYTHONPATH; only the folder that holds `app` comes back,
# behind the standard library, for which nothing in it can stand in, and before installed packages,
# among which there may be another copy of us. Limits come before anything else is imported. A
# parent that is killed takes it along; the alarm is for where the kernel does not see to that.
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
"""Exit status where standard error holds a sentence for who asked."""
_LATE_SECONDS = 5
"""After its own alarm a child is killed."""


@dataclass(frozen=True)
class Limits:
    memory_bytes: int = 4 << 30
    """Address space, of which a tokenizer's threads reserve much and touch little."""
    cpu_seconds: int = 600
    wall_seconds: float = 600
    file_bytes: int = 1 << 40
    """Of each file it writes."""


def refuse(message: str) -> int:
    """For a module that runs as a child: what its `main` ends with."""
    print(message[:500], file=sys.stderr)
    return REFUSED


class ChildFailed(Exception):
    """It ended other than with 0; negative is a signal, as in subprocess: -SIGXCPU or -SIGALRM when
    its time was up.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"status {status}: {said[-2000:]}")
        self.status = status
        self.said = said


def run(
    module: str, arguments: Iterable[object], feed: Iterable[bytes], limits: Limits | None = None
) -> None:
    """Run `python -m module arguments` on what `feed` yields. Raises ChildFailed, and OSError when
    it cannot even be started.

    It gets no environment, no open file but its input, and no network; results go where `arguments`
    say. What `feed` raises is raised here, once the process is gone.
    """
    limits = limits or Limits()
    with tempfile.TemporaryFile() as said:
        child = _start(module, arguments, said.fileno(), limits)
        watch = threading.Timer(limits.wall_seconds + _LATE_SECONDS, _kill, [child])
        watch.daemon = True
        watch.start()
        try:
            _pour(feed, child)
            child.wait()
        finally:
            watch.cancel()
            _kill(child)
            child.wait()
        if child.returncode != 0:
            said.seek(0)
            raise ChildFailed(child.returncode, said.read(1 << 16).decode(errors="replace"))


def _start(
    module: str, arguments: Iterable[object], said: int, limits: Limits
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
        stderr=said,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


def _pour(feed: Iterable[bytes], child: subprocess.Popen[bytes]) -> None:
    assert child.stdin
    try:
        for chunk in feed:
            child.stdin.write(chunk)
    except BrokenPipeError:
        pass  # it ended early: its status says why
    finally:
        with suppress(BrokenPipeError):
            child.stdin.close()


def _kill(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
