"""The thread that renews a lease, when the database raises unexpected errors."""

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from app.core.db.models import Job
from app.core.db.session import transaction
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease
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
