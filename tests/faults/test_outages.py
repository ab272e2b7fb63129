"""The database or the broker becomes unavailable while a trainer runs."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import select
from sqlalchemy.engine import make_url

from app.core.db.models import Metric
from app.core.db.session import make_engine, make_sessions, transaction
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease
from app.core.jobs.status import JobStatus
from tests.faults import invariants
from tests.faults.proxy import Proxy, between
from tests.waiting import wait_until
from tests.worker.bench import Bench
from worker.supervisor.attempt import Attempt
from worker.supervisor.lease_keeper import LeaseKeeper
from worker.supervisor.run_directory import RunDirectories


@pytest.fixture
def proxy(bench: Bench) -> Iterator[Proxy]:
    """A proxy between the supervisor and the database; the test itself connects directly."""
    url = make_url(str(bench.settings.database_url))
    assert url.host is not None
    with between(url.host, url.port or 5432) as made:
        engine = make_engine(
            url.set(host="127.0.0.1", port=made.port).render_as_string(hide_password=False)
        )
        bench.workers_sessions = make_sessions(engine)
        yield made
        made.mend()
        bench.close()
        engine.dispose()


def test_a_trainer_goes_on_through_an_outage_and_nothing_it_said_is_lost(
    bench: Bench, proxy: Proxy
) -> None:
    bench.settings = bench.settings.model_copy(update={"lease_seconds": 30.0})
    job_id = bench.submit("steps=60 pause=0.02 save=10 30:wait")
    bench.start()
    wait_until(lambda: bench.events(job_id, "metrics"))

    proxy.cut()
    wait_until(lambda: proxy.num_refused >= 3)
    (bench.settings.runs_dir / job_id / "go").touch()
    artifact = bench.settings.runs_dir / job_id / "1" / "artifact" / "manifest.json"
    wait_until(artifact.exists)
    assert bench.job(job_id).status == JobStatus.RUNNING
    proxy.mend()

    wait_until(lambda: bench.job(job_id).status == JobStatus.SUCCEEDED, timeout=20)
    job = bench.job(job_id)
    assert (job.epoch, job.attempt) == (1, 1)
    with transaction(bench.sessions) as session:
        steps = session.scalars(select(Metric.step).order_by(Metric.step)).all()
    assert steps == list(range(1, 61))
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_supervisor_cut_off_for_too_long_stops_its_trainer(bench: Bench, proxy: Proxy) -> None:
    job_id = bench.submit("steps=3 2:wait")
    thread = bench.start(outage_seconds=1.0)
    wait_until(lambda: bench.events(job_id, "progress"))

    proxy.cut()
    thread.join(timeout=30)

    assert not thread.is_alive()
    assert not (bench.settings.runs_dir / job_id / "1" / "process.json").exists()
    with transaction(bench.sessions) as session:
        lease = Lease(job_id, 1)
        lifecycle.requeue(session, lease, "worker_lost", delay_seconds=0, is_counted=True)
    (bench.settings.runs_dir / job_id / "go").touch()
    proxy.mend()
    bench.work()
    assert bench.job(job_id).status == JobStatus.SUCCEEDED
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_database_away_while_an_attempt_is_prepared_costs_no_epoch(
    bench: Bench, proxy: Proxy
) -> None:
    bench.settings = bench.settings.model_copy(update={"lease_seconds": 30.0})
    job_id = bench.submit("steps=2", limits={"max_seconds": 600})
    workplace = bench.supervisor().workplace
    with transaction(bench.sessions) as session:
        job = lifecycle.claim(session, queue="default", worker_id="worker-1", seconds=30)
        assert job is not None
    lease = Lease(job_id, job.epoch)

    def attend() -> None:
        with LeaseKeeper(workplace.sessions, lease, lease_seconds=30, renew_seconds=0.5) as keeper:
            Attempt(workplace, job, keeper).run()

    proxy.cut()
    thread = threading.Thread(target=attend)
    thread.start()
    wait_until(lambda: proxy.num_refused >= 2)
    proxy.mend()
    thread.join(timeout=30)

    done = bench.job(job_id)
    assert (done.status, done.epoch) == (JobStatus.SUCCEEDED, 1)
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_rows_are_looked_up_through_an_outage(bench: Bench, proxy: Proxy) -> None:
    job = bench.job(bench.submit())
    runs = RunDirectories(bench.settings, bench.workers_sessions, bench.storage)

    proxy.cut()
    thread = threading.Thread(target=runs.prepare, args=(job,))
    thread.start()
    wait_until(lambda: proxy.num_refused)
    proxy.mend()
    thread.join(timeout=30)

    assert (runs.path(job) / "plan.json").exists()


def test_a_running_job_does_not_notice_a_frozen_broker(bench: Bench) -> None:
    job_id = bench.submit("steps=10 pause=0.02 5:wait")
    bench.start()
    wait_until(lambda: bench.events(job_id, "progress"))
    with redis.Redis.from_url(str(bench.settings.redis_url)) as client:
        pid = int(client.info("server")["process_id"])

    os.kill(pid, signal.SIGSTOP)
    try:
        (bench.settings.runs_dir / job_id / "go").touch()
        wait_until(lambda: bench.job(job_id).status == JobStatus.SUCCEEDED, timeout=20)
    finally:
        os.kill(pid, signal.SIGCONT)
    invariants.check(bench.settings, bench.sessions, [job_id])
