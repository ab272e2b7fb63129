"""The thread that renews a lease, when the database raises unexpected errors."""

import threading
import time
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session, sessionmaker

from app.core.db.models import Job
from app.core.db.session import transaction
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease, LeaseLost
from app.core.jobs.status import Desired
from tests.waiting import wait_until
from tests.worker.bench import Bench
from worker.supervisor.lease_keeper import LeaseKeeper


class Odd(sessionmaker[Session]):
    """The first sessions raise an unexpected error."""

    num_raised = 0

    def __call__(self, **local: Any) -> Session:
        if self.num_raised < 3:
            self.num_raised += 1
            raise RuntimeError("odd")
        return super().__call__(**local)


def test_a_keeper_goes_on_after_an_error_nobody_foresaw(bench: Bench) -> None:
    job_id = bench.submit()
    with transaction(bench.sessions) as session:
        job = lifecycle.claim(session, queue="default", worker_id="worker-1", seconds=30)
        assert job is not None
        session.execute(update(Job).values(desired=Desired.CANCEL))
    odd = Odd(**bench.sessions.kw)

    with LeaseKeeper(odd, Lease(job_id, job.epoch), lease_seconds=30, renew_seconds=0.05) as keeper:
        wait_until(lambda: keeper.desired is Desired.CANCEL)

    assert odd.num_raised == 3
    assert not keeper.is_lost


def claimed(bench: Bench) -> Lease:
    bench.submit()
    with transaction(bench.sessions) as session:
        job = lifecycle.claim(session, queue="default", worker_id="worker-1", seconds=30)
        assert job is not None
        return Lease(job.id, job.epoch)


def test_a_job_that_was_taken_is_noticed_before_the_next_renewal(bench: Bench) -> None:
    lease = claimed(bench)

    with LeaseKeeper(bench.sessions, lease, lease_seconds=9999, renew_seconds=3333) as keeper:
        with transaction(bench.sessions) as session:
            lifecycle.requeue(session, lease, "lost", delay_seconds=0, is_counted=True)
        wait_until(lambda: keeper.is_lost)

    with pytest.raises(LeaseLost):
        keeper.check()


def test_a_renewal_counts_from_before_it_was_asked_for(bench: Bench) -> None:
    """However long its answer takes, the lease is not believed to last longer than it does."""
    lease = claimed(bench)
    keeper = LeaseKeeper(bench.sessions, lease, lease_seconds=30, renew_seconds=10)
    renewing = threading.Thread(target=keeper._renew)

    with transaction(bench.sessions) as session:
        session.execute(select(Job.id).with_for_update())
        renewing.start()
        waits = text("SELECT 1 FROM pg_locks WHERE NOT granted")
        wait_until(lambda: session.scalar(waits))
        asked_before = time.monotonic()
    renewing.join()

    assert keeper.seconds_unrenewed >= time.monotonic() - asked_before
