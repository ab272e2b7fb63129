"""The sandboxed child: it gets its input, and is ended whatever it does."""

import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.sandbox import child
from app.core.sandbox.child import ChildFailed, Limits
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

CODE = "timeit"
"""A module of the standard library that runs the code it is given: `-n1 -r1 -s CODE`."""

TGKILL = 131 if platform.machine() == "aarch64" else 234


def run(code: str, feed: Iterator[bytes] | list[bytes] = [], **limits: float) -> None:  # noqa: B006
    child.run(CODE, ["-n1", "-r1", "-s", code], feed, Limits(**limits))  # type: ignore[arg-type]


def test_it_is_fed_through_its_standard_input(tmp_path: Path) -> None:
    out = tmp_path / "out"

    run(f"import sys; open({str(out)!r}, 'wb').write(sys.stdin.buffer.read())", [b"ab", b"c"])

    assert out.read_bytes() == b"abc"


def test_one_that_ends_before_it_was_fed_is_told_by_its_status() -> None:
    with pytest.raises(ChildFailed) as caught:
        run("import os; os._exit(7)", (b"x" * (1 << 20) for _ in range(50)))

    assert caught.value.status == 7


def test_one_that_hangs_is_ended() -> None:
    started = time.monotonic()

    with pytest.raises(ChildFailed) as caught:
        run("import threading; threading.Event().wait()", wall_seconds=1)

    assert caught.value.status == -signal.SIGALRM
    assert time.monotonic() - started < 10


def test_one_that_computes_too_long_is_ended() -> None:
    with pytest.raises(ChildFailed):
        run("while True: pass", cpu_seconds=1)


def test_one_whose_parent_is_killed_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    hangs = (
        f"import os, pathlib, threading; pathlib.Path({str(path)!r}).write_text(str(os.getpid()))"
    )
    hangs += "; threading.Event().wait()"
    code = f"from app.core.sandbox import child; child.run('timeit', ['-n1', '-s', {hangs!r}], [])"
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: path.exists() and path.read_text())
    pid = int(path.read_text())

    parent.kill()
    parent.wait()

    wait_until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # there may be no parent to reap it


def test_one_that_wants_too_much_memory_gets_none() -> None:
    with pytest.raises(ChildFailed) as caught:
        run("b'x' * (1 << 33)")

    assert "MemoryError" in caught.value.said


def test_what_its_food_raises_is_raised() -> None:
    def feed() -> Iterator[bytes]:
        yield b"x"
        raise OSError("the store is away")

    with pytest.raises(OSError, match="the store is away"):
        run("import sys; sys.stdin.read()", feed())


def test_it_has_no_environment_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNESMITH_S3_SECRET_ACCESS_KEY", "secret")
    out = tmp_path / "out"

    run(f"import os; open({str(out)!r}, 'w').write(repr(dict(os.environ)))")

    assert "TUNESMITH" not in out.read_text()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="not confined there")
@pytest.mark.parametrize(
    "wanted",
    [
        "import socket; socket.socket()",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import socket; socket.socketpair()",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.kill(os.getppid(), 0)",
        "import os; os.kill(os.getpid(), 0)",
        f"import ctypes; ctypes.CDLL(None, use_errno=True).syscall({TGKILL}, 1, 1, 0);"
        "raise OSError(ctypes.get_errno(), 'tgkill')",
        "import ctypes; ctypes.CDLL(None, use_errno=True).syscall(425, 8, 0);"
        "raise OSError(ctypes.get_errno(), 'io_uring')",
    ],
)
def test_it_has_no_network_and_starts_and_ends_no_program(wanted: str) -> None:
    with pytest.raises(ChildFailed) as caught:
        run(wanted)

    assert "PermissionError" in caught.value.said


def test_it_may_still_abort() -> None:
    with pytest.raises(ChildFailed) as caught:
        run("import os; os.abort()")

    assert caught.value.status == -signal.SIGABRT


def test_it_may_have_threads(tmp_path: Path) -> None:
    out = tmp_path / "out"

    run(f"import threading as t; a = t.Thread(target=open, args=({str(out)!r}, 'w')); a.start()")

    assert out.exists()
