"""Dead processes are restarted, first immediately, then with backoff; stopping leaves none."""

import os
import signal
import sys
import time
from itertools import pairwise

import psutil
import pytest

from app.embedded.errors import StartFailed, Stopped
from app.embedded.process import Program
from app.embedded.processes import ProcessGroup
from tests.waiting import pause, wait_until

SLEEPER = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('x'); time.sleep(600)"
PARENT = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen(['sleep', '601'], start_new_session=True);"
    "print(child.pid, flush=True); time.sleep(600)"
)


def python(name: str, code: str, grace_seconds: float = 10) -> Program:
    return Program(
        name=name,
        command=[sys.executable, "-u", "-c", code],
        environment={"PATH": os.defpath},
        grace_seconds=grace_seconds,
    )


@pytest.fixture
def said():
    return []


@pytest.fixture
def group(tmp_path, said):
    made = ProcessGroup(tmp_path, pause, said.append)
    yield made
    made.stop(list(made.pids), hurry=True)


def test_a_killed_process_is_restarted_and_said_so(group, said):
    process = group.start(python("sleeper", SLEEPER))
    os.kill(first := process.pid, signal.SIGKILL)

    wait_until(group.revive)

    assert process.pid != first
    assert psutil.pid_exists(process.pid)
    assert "sleeper died (signal 9)" in said[0]


def test_a_process_that_keeps_dying_is_restarted_ever_more_slowly(group):
    process = group.start(python("hasty", "pass"))
    starts = []
    for _ in range(4):
        wait_until(group.revive)
        starts.append(time.monotonic())

    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps[0] < gaps[1] < gaps[2]
    assert gaps[2] >= 2
    assert process.exit_status() in (None, 0)


def test_one_that_ends_before_it_is_ready_is_told_with_the_end_of_its_log(group):
    process = group.start(python("broken", "raise SystemExit('no such thing')"))

    with pytest.raises(StartFailed, match=r"(?s)broken ended with status 1.*no such thing"):
        group.until(lambda: False, 10, process)


def test_one_that_is_never_ready_is_given_up(group):
    process = group.start(python("slow", SLEEPER))

    with pytest.raises(StartFailed, match="slow was not ready after 0 s"):
        group.until(lambda: False, 0.2, process)


def test_being_asked_to_stop_ends_the_wait_for_readiness(tmp_path):
    group = ProcessGroup(tmp_path, lambda _: True, print)
    process = group.start(python("sleeper", SLEEPER))

    with pytest.raises(Stopped):
        group.until(lambda: False, 10, process)
    group.stop(["sleeper"])

    assert not psutil.pid_exists(process.pid)


def test_one_that_ignores_the_signal_is_killed_after_its_grace(group, tmp_path):
    process = group.start(python("stubborn", STUBBORN, grace_seconds=0.3))
    wait_until(lambda: (tmp_path / "stubborn.log").read_text())

    group.stop(["stubborn"])

    assert process.exit_status() == -signal.SIGKILL


def test_stopping_takes_the_children_of_children_along(group, tmp_path):
    group.start(python("parent", PARENT))
    child = int(wait_until(lambda: (tmp_path / "parent.log").read_text()))
    assert psutil.pid_exists(child)

    group.stop(["parent"])

    wait_until(lambda: not psutil.pid_exists(child))
