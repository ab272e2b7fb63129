"""Worker and housekeeper as real processes on a real broker: killed, frozen and starved."""

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import select

from app.core.db.models import Attempt, Worker
from app.core.db.session import transaction
from app.core.jobs import lifecycle
from app.core.jobs.status import JobStatus
from tests.faults import invariants
from tests.waiting import wait_until
from tests.worker.bench import Bench
from tests.worker.celery_worker import Process, running
from worker import processes


@pytest.fixture
def housekeeper(bench: Bench) -> Iterator[Process]:
    with running("worker.housekeeper", bench.settings) as process:
        yield process


@pytest.fixture
def worker(bench: Bench) -> Iterator[Process]:
    with running("worker", bench.settings) as process:
        yield process


def succeeded(bench: Bench, job_id: str) -> bool:
    return bench.job(job_id).status == JobStatus.SUCCEEDED


def live_workers(bench: Bench) -> list[tuple[int, str]]:
    with transaction(bench.sessions) as session:
        return [(row.pid, row.queue) for row in session.scalars(select(Worker))]


def wait_for_step(bench: Bench, job_id: str, step: int, timeout: float = 30) -> None:
    def reached() -> bool:
        progress = bench.job(job_id).progress
        return progress is not None and progress["step"] >= step

    wait_until(reached, timeout)


def trainer_pid(bench: Bench, job_id: str) -> int:
    def found() -> int | None:
        epoch = bench.job(job_id).epoch
        path = bench.settings.runs_dir / job_id / str(epoch) / "process.json"
        if not path.exists():
            return None
        return next(iter(processes.with_token(json.loads(path.read_text())["token"])), None)

    pid = wait_until(found)
    assert pid is not None
    return pid


def test_a_job_goes_through_housekeeper_broker_and_worker(
    bench: Bench, housekeeper: Process, worker: Process
) -> None:
    job_id = bench.submit()

    wait_until(lambda: succeeded(bench, job_id), timeout=30)

    assert wait_until(lambda: live_workers(bench)) == [(worker.pid, "default")]
    assert worker.end() == 0, worker.output
    assert live_workers(bench) == []
    assert '"event": "wake_missed"' not in worker.output
    lines = [json.loads(line) for line in worker.output.splitlines() if "trainer_ended" in line]
    assert [(line["job_id"], line["epoch"]) for line in lines] == [(job_id, 1)]
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_job_survives_the_kill_of_trainer_worker_housekeeper_and_a_broker_that_forgets(
    bench: Bench, housekeeper: Process, worker: Process
) -> None:
    job_id = bench.submit("steps=60 pause=0.03 50:wait", limits={"max_retries": 5})
    wait_for_step(bench, job_id, random.randint(2, 10))

    os.kill(trainer_pid(bench, job_id), signal.SIGKILL)
    wait_until(lambda: bench.job(job_id).attempt == 2, timeout=20)
    wait_until(lambda: {e.epoch for e in bench.events(job_id, "checkpoint")} == {1, 3})
    pid = trainer_pid(bench, job_id)
    worker.kill()
    housekeeper.kill()
    with redis.Redis.from_url(str(bench.settings.redis_url)) as client:
        client.flushall()

    wait_until(lambda: not processes.group_members(pid), timeout=5)
    assert not succeeded(bench, job_id)
    (bench.settings.runs_dir / job_id / "go").touch()
    with (
        running("worker.housekeeper", bench.settings, "second-housekeeper"),
        running("worker", bench.settings, "second"),
    ):
        wait_until(lambda: succeeded(bench, job_id), timeout=60)
    with transaction(bench.sessions) as session:
        rows = session.scalars(select(Attempt).order_by(Attempt.epoch)).all()
        assert [row.outcome for row in rows] == ["trainer_exit", "worker_lost", "succeeded"]
        resumed = [row.resumed_from_step or 0 for row in rows]
        assert 0 == resumed[0] < resumed[1] < resumed[2]
    steps = {event.data["step"] for event in bench.events(job_id, "checkpoint")}
    assert steps == set(range(1, 61))
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_worker_frozen_past_its_lease_wakes_up_to_nothing(
    bench: Bench, housekeeper: Process, worker: Process
) -> None:
    job_id = bench.submit("steps=60 pause=0.03 50:wait", limits={"max_retries": 5})
    wait_for_step(bench, job_id, 3)
    zombie = trainer_pid(bench, job_id)
    tree = [worker.pid, *(each.pid for each in psutil.Process(worker.pid).children(True))]
    assert zombie in tree

    for pid in tree:
        processes.kill(pid, signal.SIGSTOP)
    (bench.settings.runs_dir / job_id / "go").touch()
    with running("worker", bench.settings, "second"):
        wait_until(lambda: bench.job(job_id).epoch == 3, timeout=30)
        for pid in tree:
            processes.kill(pid, signal.SIGCONT)
        wait_until(lambda: not processes.group_members(zombie), timeout=10)
        wait_until(lambda: succeeded(bench, job_id), timeout=60)

    epochs = [event.epoch for event in bench.events(job_id)]
    assert epochs == sorted(epochs)
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_jobs_are_done_although_every_message_is_lost(
    bench: Bench, housekeeper: Process, worker: Process
) -> None:
    ledger = [bench.submit("steps=1") for _ in range(5)]
    with redis.Redis.from_url(str(bench.settings.redis_url)) as client:

        def all_done() -> bool:
            client.flushall()
            return all(succeeded(bench, job_id) for job_id in ledger)

        wait_until(all_done, timeout=60, every=0.3)
    invariants.check(bench.settings, bench.sessions, ledger)


def test_a_worker_without_a_broker_finds_its_work_by_itself(bench: Bench) -> None:
    nowhere = bench.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    job_id = bench.submit("steps=2")

    with running("worker", nowhere) as worker:
        wait_until(lambda: succeeded(bench, job_id), timeout=30)
        assert '"event": "wake_missed"' in worker.output
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_doubled_and_forged_messages_change_nothing(
    bench: Bench, housekeeper: Process, worker: Process
) -> None:
    from app.core.queue import WorkerQueue, celery_queue

    worker_queue = WorkerQueue(str(bench.settings.redis_url))
    job_id = bench.submit("steps=3 pause=0.1")
    for _ in range(5):
        assert worker_queue.wake_worker("default")
    with redis.Redis.from_url(str(bench.settings.redis_url)) as client:
        client.lpush(f"ft:{celery_queue('default')}", b"not a message")

    wait_until(lambda: succeeded(bench, job_id), timeout=30)
    second = bench.submit("steps=1")
    wait_until(lambda: succeeded(bench, second), timeout=30)
    assert bench.job(job_id).attempt == 1
    invariants.check(bench.settings, bench.sessions, [job_id, second])


def test_sigterm_drains_the_worker_and_the_next_one_goes_on(
    bench: Bench, housekeeper: Process, worker: Process
) -> None:
    job_id = bench.submit("steps=25 pause=0.1 save=0")
    wait_for_step(bench, job_id, 3)

    assert worker.end() == 0, worker.output

    job = bench.job(job_id)
    assert (job.status, job.status_reason, job.infra_attempts) == ("queued", "drained", 0)
    with running("worker", bench.settings, "second"):
        wait_until(lambda: succeeded(bench, job_id), timeout=30)
    with transaction(bench.sessions) as session:
        resumed = session.scalars(select(Attempt.resumed_from_step).order_by(Attempt.epoch)).all()
    assert resumed[0] is None
    assert (resumed[1] or 0) >= 3
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_cancel_of_a_running_job_is_carried_out_within_seconds(
    bench: Bench, housekeeper: Process, worker: Process
) -> None:
    job_id = bench.submit("steps=2 2:wait")
    wait_for_step(bench, job_id, 2)
    pid = trainer_pid(bench, job_id)

    with transaction(bench.sessions) as session:
        lifecycle.cancel(session, job_id)

    wait_until(lambda: bench.job(job_id).status == JobStatus.CANCELLED, timeout=5)
    assert not processes.group_members(pid)
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_the_janitor_kills_what_a_dead_supervisor_left_running(
    bench: Bench, tmp_path: Path
) -> None:
    import subprocess
    import sys

    from worker.supervisor import orphans

    run_dir = bench.settings.runs_dir / "job_x" / "1"
    run_dir.mkdir(parents=True)
    token = orphans.note_run(run_dir)
    environment = {processes.TOKEN_VARIABLE: token}
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env=environment,
        start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: processes.with_token(token))
    assert orphans.sweep(bench.settings.runs_dir) == 0, "its supervisor, this process, is alive"

    note = json.loads((run_dir / "process.json").read_text())
    (run_dir / "process.json").write_text(json.dumps({**note, "supervisor_ticks": 1}))

    assert orphans.sweep(bench.settings.runs_dir) == 1
    assert orphan.wait(timeout=5) == -signal.SIGKILL
    assert not (run_dir / "process.json").exists()
