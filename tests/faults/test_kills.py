"""SIGKILL of each process during a real job on the real stack: the job still succeeds."""

import signal

import psutil
import pytest

from tests import spine
from tests.waiting import wait_until


def trainers(stack) -> list[int]:
    """Pids of a stack's trainers."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "worker.training" in words and str(stack.data_dir) in words[-1]:
            found.append(process.pid)
    return found


def wait_for_checkpoint(client, job: str) -> int:
    """The step of the first committed checkpoint."""

    def steps() -> list[int]:
        page = spine.reach(client, f"/jobs/{job}/checkpoints")
        return [each["step"] for each in page["data"]] if page else []

    return max(wait_until(steps, 120, every=0.1))


def kill_trainer(stack) -> None:
    [pid] = trainers(stack)
    psutil.Process(pid).send_signal(signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid))


def kill_service(stack, name: str) -> None:
    old = stack.kill(name)
    stack.wait_restarted(name, old)


@pytest.mark.parametrize("victim", ["trainer", "worker", "api", "valkey"])
def test_the_job_succeeds_though_something_was_killed(stack, victim):
    with stack.client(timeout=60) as client:
        dataset = spine.upload(client)
        job = spine.submit(client, spine.spec(dataset, training={"max_steps": 12}))
        committed = wait_for_checkpoint(client, job)
        assert trainers(stack), "nothing was running when the fault was due"

        kill_trainer(stack) if victim == "trainer" else kill_service(stack, victim)

        answered = spine.finished(client, job)
        assert answered["status"] == "succeeded", answered["failure"]
        attempts = client.get(f"/jobs/{job}/attempts").json()["data"]
        resumed = [each["resumed_from_step"] for each in attempts if each["resumed_from_step"]]
        died = victim in {"trainer", "worker"}
        assert len(attempts) == (2 if died else 1)
        assert bool(resumed) == died
        assert all(step >= committed for step in resumed)
        events = client.get(f"/jobs/{job}/events", params={"limit": 100}).json()["data"]
        assert [each["seq"] for each in events] == list(range(1, len(events) + 1))
        steps = client.get(f"/jobs/{job}/metrics").json()
        assert steps
    wait_until(lambda: not trainers(stack))
