"""What the sweep leaves alone: the young, the half made, and what a person may go on from."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.core.db.models import NOW, Job
from app.core.db.session import transaction
from app.core.jobs.status import JobStatus
from tests.rows import make_job
from tests.worker.bench import Bench
from worker.housekeeper.garbage import KEEP_SECONDS, Garbage


@pytest.fixture
def garbage(bench: Bench) -> Garbage:
    return Garbage(bench.settings, bench.sessions, bench.storage)


def make_run(bench: Bench, job_id: str, epoch: int, age_seconds: float) -> Path:
    run_dir = bench.settings.runs_dir / job_id / str(epoch)
    run_dir.mkdir(parents=True)
    set_age(run_dir, age_seconds)
    return run_dir


def set_age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_young_run_directory_of_no_job_stays_and_an_old_one_goes(
    bench: Bench, garbage: Garbage
) -> None:
    """Its job may only now be on its way into the database; a replica may not have it yet."""
    young = make_run(bench, "job_gone", 1, KEEP_SECONDS - 60)
    old = make_run(bench, "job_gone", 2, KEEP_SECONDS + 60)

    assert garbage.collect() == 1
    assert (young.exists(), old.exists()) == (True, False)

    set_age(young, KEEP_SECONDS + 60)
    assert garbage.collect() == 1
    assert not young.parent.exists()


def test_the_run_of_a_job_that_just_ended_stays(bench: Bench, garbage: Garbage) -> None:
    with transaction(bench.sessions) as session:
        job = make_job(session, status=JobStatus.SUCCEEDED, epoch=1)
        job.finished_at = session.scalar(select(NOW))
    run_dir = make_run(bench, job.id, 1, 2 * KEEP_SECONDS)

    assert garbage.collect() == 0
    assert run_dir.exists()

    long_ago = NOW - timedelta(seconds=KEEP_SECONDS + 60)
    with transaction(bench.sessions) as session:
        session.execute(update(Job).values(finished_at=long_ago))
    assert garbage.collect() == 1
    assert not run_dir.exists()


def test_an_artifact_stays_while_it_is_being_published(bench: Bench, garbage: Garbage) -> None:
    with transaction(bench.sessions) as session:
        job_id = make_job(session, status=JobStatus.RUNNING, epoch=3).id
    for epoch in (2, 3):
        bench.storage.write(f"artifacts/{job_id}/{epoch}/adapter_config.json", [b"{}"])

    assert garbage.collect() == 1

    kept = [f"artifacts/{job_id}/3/adapter_config.json"]
    assert list(bench.storage.keys("artifacts/")) == kept
