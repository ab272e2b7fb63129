"""`tunesmith up` as a process: survives the death of its parts, and stops without a trace."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from app.embedded import files
from tests.stacks import ROOT, RunningStack
from tests.waiting import wait_until

ALL = {"postgres", "valkey", "api", "housekeeper", "worker"}


def family(stack: RunningStack) -> list[psutil.Process]:
    """`up` and all its descendants."""
    up = psutil.Process(stack.pid("up"))
    return [up, *up.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [
        process
        for process in processes
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.fixture
def another(run_dir):
    """A stack without a worker, used by one test."""
    folder = Path(tempfile.mkdtemp(dir=run_dir))
    folder.chmod(0o711)
    models = folder / "models"
    models.mkdir()
    made = RunningStack(folder / "data", models, {}, "--no-worker")
    yield made
    made.stop()


def test_a_stack_is_ready_when_it_says_so(stack):
    with stack.client() as client:
        assert client.get("/readyz").status_code == 200

    assert set(stack.state.processes) == ALL
    assert f"API           {stack.url}" in stack.output


def test_the_state_file_is_for_its_owner_only(stack):
    mode = (stack.data_dir / "stack.json").stat().st_mode

    assert stat.S_IMODE(mode) == 0o600


def test_a_second_stack_on_the_folder_is_told_who_holds_it(stack):
    command = [sys.executable, "-m", "app.cli", "up", "--data-dir", str(stack.data_dir)]
    models = ["--models-dir", str(ROOT / "examples" / "models"), "--no-worker"]
    done = subprocess.run([*command, *models], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 1
    assert f"in use by pid {stack.pid('up')} (`tunesmith up" in done.stderr
    assert f"on port {stack.url.rpartition(':')[2]}" in done.stderr
    assert files.running(stack.data_dir)


def test_two_stacks_live_side_by_side(stack, another):
    another.start()

    assert another.url != stack.url
    assert set(another.state.processes) == ALL - {"worker"}
    with another.client() as client, stack.client() as other:
        assert client.get("/readyz").status_code == other.get("/readyz").status_code == 200


def test_a_request_made_while_the_api_is_dead_is_answered_by_its_successor(stack):
    with ThreadPoolExecutor() as threads, stack.client() as client:
        before = stack.kill("api")
        answer = threads.submit(client.get, "/healthz")

        assert answer.result().status_code == 200
        assert stack.wait_restarted("api", before) != before
    assert "api died (signal 9); restarting it" in stack.output


@pytest.mark.parametrize("name", ["valkey", "postgres", "worker", "housekeeper"])
def test_whatever_dies_comes_back_and_the_stack_is_ready_again(stack, name):
    if name not in stack.state.processes:
        pytest.skip("the servers are not ours to kill")
    urls = stack.state.database_url, stack.state.redis_url
    before = stack.kill(name)

    stack.wait_restarted(name, before)

    with stack.client() as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, 30, every=0.2)
    assert (stack.state.database_url, stack.state.redis_url) == urls


def test_stopping_leaves_no_process_and_says_so(another):
    another.start()
    processes = family(another)
    assert len(processes) > 5

    another.stop()

    assert another.exit_status == 0
    assert alive(processes) == []
    assert another.output.endswith("Stopped.")
    assert files.running(another.data_dir) is None


def test_a_killed_stack_leaves_no_process_and_can_be_started_again(another):
    another.start()
    processes = family(another)
    assert len(processes) > 5

    os.kill(another.pid("up"), signal.SIGKILL)

    wait_until(lambda: not alive(processes), 20)
    assert files.running(another.data_dir) is None
    another.start()
    with another.client() as client:
        assert client.get("/readyz").status_code == 200


def test_a_stack_asked_to_stop_while_starting_stops(another):
    another._up.start()
    wait_until(lambda: (another.data_dir / "logs" / "valkey.log").exists(), 20)
    processes = family(another)

    began = time.monotonic()
    another.stop()

    assert another.exit_status in (0, 1)
    assert time.monotonic() - began < 30
    assert alive(processes) == []
