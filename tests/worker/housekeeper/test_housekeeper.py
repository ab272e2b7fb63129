"""What the housekeeper does: wake-ups, expired leases, cancels, garbage."""

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from sqlalchemy import Engine, select, text, update

from app.core.clock import utc_now
from app.core.db.models import NOW, Checkpoint, Dataset, Job, PartialUpload, Worker
from app.core.db.session import make_engine, transaction
from app.core.ids import new_id
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease, LeaseLost
from app.core.jobs.status import JobStatus
from app.core.queue import WorkerQueue
from app.core.settings import DEFAULT_PROJECT
from tests.faults import invariants
from tests.rows import make_dataset, make_job
from tests.waiting import wait_until
from tests.worker.bench import Bench
from worker.housekeeper import dispatch
from worker.housekeeper.garbage import UPLOAD_SECONDS, Garbage
from worker.housekeeper.housekeeper import Housekeeper, lead
from worker.housekeeper.leader import Leadership


@pytest.fixture
def worker_queue(bench: Bench) -> WorkerQueue:
    return WorkerQueue(str(bench.settings.redis_url))


@pytest.fixture
def housekeeper(bench: Bench, worker_queue: WorkerQueue) -> Housekeeper:
    garbage = Garbage(bench.settings, bench.sessions, bench.storage, keep_seconds=0)
    # The test's server may have been up for less than a lease.
    settings = bench.settings.model_copy(update={"lease_seconds": 0.01})
    made = Housekeeper(settings, bench.sessions, worker_queue, bench.notifier, garbage)
    made.leads_since = time.monotonic() - 3600
    return made


def claim(bench: Bench, seconds: float) -> Lease:
    with transaction(bench.sessions) as session:
        job = lifecycle.claim(session, queue="default", worker_id="dead", seconds=seconds)
        assert job is not None
        return Lease(job.id, job.epoch)


def test_a_lease_that_ran_out_is_taken_and_its_holder_can_do_nothing_more(
    bench: Bench, housekeeper: Housekeeper
) -> None:
    job_id = bench.submit()
    lease = claim(bench, -1)

    assert housekeeper.reclaim() == 1

    job = bench.job(job_id)
    assert (job.status, job.status_reason, job.infra_attempts) == ("queued", "worker_lost", 1)
    assert job.epoch == lease.epoch + 1
    with pytest.raises(LeaseLost), transaction(bench.sessions) as session:
        lifecycle.renew(session, lease, 60)
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_lease_that_holds_or_was_renewed_in_time_is_left_alone(
    bench: Bench, housekeeper: Housekeeper
) -> None:
    bench.submit()
    lease = claim(bench, -1)
    with transaction(bench.sessions) as session:
        assert dispatch.expired(session, 0) == [lease]
        lifecycle.renew(session, lease, 60)
        assert dispatch.reclaim_expired(session, lease, base_seconds=0) is None

    assert housekeeper.reclaim() == 0


def test_nobody_is_taken_for_dead_right_after_an_outage(
    bench: Bench, housekeeper: Housekeeper
) -> None:
    bench.submit()
    lease = claim(bench, -1)

    housekeeper.settings = bench.settings
    housekeeper.leads_since = time.monotonic()
    assert housekeeper.reclaim() == 0
    with transaction(bench.sessions) as session:
        # The server has been up for less than a day.
        assert dispatch.expired(session, lease_seconds=86400) == []
        assert dispatch.expired(session, lease_seconds=0) == [lease]


def test_no_lease_is_taken_before_it_was_watched_for_its_whole_length(
    bench: Bench, housekeeper: Housekeeper
) -> None:
    """The database has been up for longer than a lease here: it does not hold us back."""
    bench.submit()
    claim(bench, -1)

    housekeeper.leads_since = time.monotonic() + 3600
    assert housekeeper.reclaim() == 0

    housekeeper.leads_since = time.monotonic() - 3600
    assert housekeeper.reclaim() == 1


def test_a_dead_workers_job_that_was_to_be_cancelled_is_cancelled(
    bench: Bench, housekeeper: Housekeeper
) -> None:
    job_id = bench.submit()
    claim(bench, -1)
    with transaction(bench.sessions) as session:
        lifecycle.cancel(session, job_id)

    housekeeper.reclaim()

    assert bench.job(job_id).status == JobStatus.CANCELLED
    invariants.check(bench.settings, bench.sessions, [job_id])


def test_a_waiting_job_that_was_to_be_cancelled_is_cancelled(
    bench: Bench, housekeeper: Housekeeper
) -> None:
    job_id = bench.submit()
    with transaction(bench.sessions) as session:
        session.execute(update(Job).values(desired="cancel"))

    assert housekeeper.reclaim() == 1

    assert bench.job(job_id).status == JobStatus.CANCELLED


def test_a_job_that_takes_two_workers_along_without_a_checkpoint_is_poison(
    bench: Bench, housekeeper: Housekeeper
) -> None:
    job_id = bench.submit(limits={"max_retries": 10})
    for _ in range(2):
        with transaction(bench.sessions) as session:
            session.execute(update(Job).values(not_before=None))
        claim(bench, -1)
        housekeeper.reclaim()

    job = bench.job(job_id)
    assert (job.status, job.attempt) == (JobStatus.FAILED, 2)
    assert job.failure is not None
    assert (job.failure["code"], job.failure["class"]) == ("poison", "system")


def test_each_waiting_job_is_rung_for_once_per_interval_and_again_when_the_bell_was_lost(
    bench: Bench, housekeeper: Housekeeper, worker_queue: WorkerQueue
) -> None:
    for _ in range(3):
        bench.submit()
    with transaction(bench.sessions) as session:
        for number in range(2):
            session.add(
                Worker(
                    id=str(number), hostname="h", pid=1, device="cpu", queue="default", version="0"
                )
            )

    assert housekeeper.dispatch() == 2, "one wake-up per worker is enough"
    assert housekeeper.dispatch() == 0, "woken within the interval"
    assert worker_queue.num_pending("default") == 2

    with redis.Redis.from_url(str(bench.settings.redis_url)) as client:
        client.flushall()
    with transaction(bench.sessions) as session:
        session.execute(update(Job).values(woken_at=NOW - timedelta(hours=1)))
    assert housekeeper.dispatch() == 2
    with transaction(bench.sessions) as session:
        session.execute(update(Job).values(woken_at=NOW - timedelta(hours=1)))
    assert housekeeper.dispatch() == 0, "two wake-ups are still pending"


def test_no_bell_rings_for_a_job_that_may_not_run_yet(
    bench: Bench, housekeeper: Housekeeper
) -> None:
    bench.submit()
    with transaction(bench.sessions) as session:
        session.execute(update(Job).values(not_before=NOW + timedelta(hours=1)))

    assert housekeeper.dispatch() == 0


def test_one_of_two_housekeepers_leads_until_it_is_gone(engine: Engine, database_url: str) -> None:
    # Each with connections of its own, as two processes have.
    other = make_engine(database_url)
    first, second = Leadership(engine), Leadership(other)

    assert first.hold()
    assert first.hold()
    assert not second.hold()
    first.release()
    wait_until(second.hold)
    second.release()
    other.dispose()


def make_run(bench: Bench, job_id: str, epoch: int, *, checkpoint: bool = False) -> Path:
    run_dir = bench.settings.runs_dir / job_id / str(epoch)
    (run_dir / "checkpoints" / ("checkpoint-1" if checkpoint else "")).mkdir(parents=True)
    os.utime(run_dir, (0, 0))
    return run_dir


def test_files_of_jobs_that_are_gone_or_over_are_deleted_and_others_kept(
    bench: Bench, housekeeper: Housekeeper
) -> None:
    def finished(status: JobStatus, **values: Any) -> str:
        with transaction(bench.sessions) as session:
            job = make_job(session, status=status, epoch=3, **values)
            job.finished_at = session.scalar(select(NOW - timedelta(hours=2)))
            for epoch in (1, 3):
                session.add(
                    Checkpoint(
                        job_id=job.id,
                        step=epoch,
                        run_epoch=epoch,
                        train_epoch=1,
                        num_bytes=1,
                        metrics={},
                        best=False,
                        kept=True,
                    )
                )
            return job.id

    done = finished(JobStatus.SUCCEEDED)
    with transaction(bench.sessions) as session:
        session.execute(update(Job).values(artifact={"prefix": f"artifacts/{done}/3/"}))
    failed = finished(JobStatus.FAILED)
    waiting = bench.submit()
    for prefix in (f"artifacts/{done}/1/", f"artifacts/{done}/3/", "artifacts/job_gone/1/"):
        bench.storage.write(f"{prefix}manifest.json", [b"{}"])
    bench.storage.write("logs/job_gone/1.log", [b"old"])
    bench.storage.write(f"logs/{failed}/1.log", [b"kept"])
    spent = [make_run(bench, done, 1), make_run(bench, "job_gone", 1), make_run(bench, failed, 1)]
    kept = [make_run(bench, failed, 3, checkpoint=True), make_run(bench, waiting, 1)]

    housekeeper.garbage.collect()

    assert [path.exists() for path in spent] == [False] * 3
    assert [path.exists() for path in kept] == [True] * 2
    assert list(bench.storage.keys("artifacts/")) == [f"artifacts/{done}/3/manifest.json"]
    assert list(bench.storage.keys("logs/")) == [f"logs/{failed}/1.log"]
    with transaction(bench.sessions) as session:
        rows = select(Checkpoint.kept).where(Checkpoint.job_id == failed)
        assert session.scalars(rows.order_by(Checkpoint.step)).all() == [False, True]


def test_parts_of_uploads_that_are_over_are_deleted(bench: Bench, housekeeper: Housekeeper) -> None:
    names = ("open", "late", "completed", "dropped")
    coming, late, completed, dropped = (f"upl_{name}" for name in names)
    ages = {coming: 23, late: 25, completed: 1}
    with transaction(bench.sessions) as session:
        for upload_id, hours in ages.items():
            upload = PartialUpload(
                id=upload_id,
                project_id=DEFAULT_PROJECT,
                owner_id="x",
                name="rows",
                format="auto",
                num_bytes=2,
                sha256="0" * 64,
                created_at=utc_now() - timedelta(hours=hours),
            )
            upload.dataset_id = "ds_made" if upload_id == completed else None
            session.add(upload)
    for upload_id in (coming, late, completed, dropped):
        bench.storage.write(f"uploads/{upload_id}/1/part_1", [b"{}"])

    assert housekeeper.garbage.collect() == 3

    assert list(bench.storage.keys("uploads/")) == [f"uploads/{coming}/1/part_1"]
    with transaction(bench.sessions) as session:
        kept = set(session.scalars(select(PartialUpload.id)))
    assert kept == {coming, completed}


def test_bytes_of_deleted_datasets_and_of_uploads_without_a_row_are_deleted(
    bench: Bench, housekeeper: Housekeeper
) -> None:
    with transaction(bench.sessions) as session:
        kept = make_dataset(session).id
        deleted = make_dataset(session).id
        session.execute(update(Dataset).where(Dataset.id == deleted).values(deleted_at=NOW))
    lost = f"ds_{int((time.time() - 2 * 86400) * 1000) << 80:032x}"
    coming = new_id("ds")
    for dataset_id in (kept, deleted, lost, coming):
        bench.storage.write(f"datasets/{dataset_id}/upload", [b"{}"])

    assert housekeeper.garbage.collect() == 2

    found = {key.split("/")[1] for key in bench.storage.keys("datasets/")}
    assert found == {kept, coming}


def test_what_was_counted_of_rows_goes_when_it_is_old(bench: Bench) -> None:
    keys = ["layouts/a.json", "measures/b.npz"]
    for key in [*keys, "models/kept"]:
        bench.storage.write(key, [b"x"])
    parts = (bench.settings, bench.sessions, bench.storage)

    assert Garbage(*parts).collect() == 0
    assert Garbage(*parts, counts_seconds=-60).collect() == 2

    assert not any(bench.storage.exists(key) for key in keys)
    assert bench.storage.exists("models/kept")


def test_what_a_killed_upload_left_in_the_store_goes_after_a_day(bench: Bench) -> None:
    garbage = Garbage(bench.settings, bench.sessions, bench.storage)
    folder = Path(urlsplit(bench.settings.store_url).path) / "datasets" / "ds_1"
    code = """
import os, sys
from pathlib import Path
from urllib.parse import urlsplit
from obstore.store import LocalStore
from app.core.storage import Storage

def chunks():
    for _ in range(20):
        yield bytes(1 << 20)
    os._exit(9)

Storage(LocalStore(sys.argv[1])).write("datasets/ds_1/upload", chunks())
"""
    root = str(folder.parents[1])
    killed = subprocess.run([sys.executable, "-c", code, root], timeout=60, check=False)
    (left,) = folder.iterdir()

    garbage.collect()
    is_kept = left.exists()
    old = time.time() - UPLOAD_SECONDS - 60
    os.utime(left, (old, old))
    garbage.collect()

    assert killed.returncode == 9
    assert list(bench.storage.keys("datasets/ds_1/")) == []
    assert is_kept
    assert not left.exists()


def test_a_job_that_waits_again_is_told_at_once(bench: Bench, housekeeper: Housekeeper) -> None:
    housekeeper.settings = bench.settings.model_copy(update={"wake_seconds": 3600})
    bench.submit()
    assert (housekeeper.dispatch(), housekeeper.dispatch()) == (1, 0)
    with redis.Redis.from_url(str(bench.settings.redis_url)) as client:
        client.flushall()
    lease = claim(bench, 60)
    with transaction(bench.sessions) as session:
        lifecycle.requeue(session, lease, "drained", delay_seconds=0, is_counted=False)

    assert housekeeper.dispatch() == 1


@pytest.mark.slow
def test_a_watch_begins_anew_when_the_database_was_lost(
    bench: Bench, housekeeper: Housekeeper, engine: Engine
) -> None:
    """What stopped us from looking may have stopped the workers' renewals as well."""
    housekeeper.leads_since = None
    over = threading.Event()
    leading = threading.Thread(target=lead, args=(housekeeper, Leadership(engine), over))
    leading.start()
    try:
        before = wait_until(lambda: housekeeper.leads_since)
        with transaction(bench.sessions) as session:
            cut = text(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d "
                "ON d.oid = l.database "
                "WHERE l.locktype = 'advisory' AND d.datname = current_database()"
            )
            assert session.scalars(cut).all() == [True]

        wait_until(lambda: (housekeeper.leads_since or before) > before)
    finally:
        over.set()
        leading.join(20)
