"""What may happen between a change and its commit, and what must wait for it."""

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from app.core.db.models import Job
from app.core.db.session import transaction
from app.core.jobs.spec import JobSpec
from app.core.settings import DEFAULT_PROJECT
from app.services import datasets, jobs
from app.services.caller import Caller

CALLER = Caller(DEFAULT_PROJECT, "x")


def test_a_worker_is_woken_when_the_job_can_be_seen_and_not_before(client, world, sessions):
    seen = []

    class Looking:
        def wake(self, queue: str) -> None:
            with transaction(sessions) as other:
                count = select(func.count()).select_from(Job).where(Job.queue == queue)
                seen.append(other.scalar(count))

    with transaction(sessions) as session:
        spec = JobSpec(model="tiny", dataset=world.dataset())
        layouts = client.app.state.adapters.layouts
        where = {"settings": world.settings, "storage": world.storage, "layouts": layouts}
        jobs.submit(session, CALLER, spec, queue=Looking(), **where)
        assert seen == []

    assert seen == [1]


def test_a_deletion_that_is_rolled_back_leaves_every_file(client, world, sessions):
    dataset_id = world.dataset()
    job_id = client.post("/jobs", json={"model": "tiny", "dataset": dataset_id}).json()["id"]
    lease = world.claim()
    world.succeed(lease)
    world.storage.write(f"logs/{job_id}/{lease.epoch}.log", [b"x"])
    run_dir = world.settings.runs_dir / job_id / str(lease.epoch)
    run_dir.mkdir(parents=True)
    before = list(world.storage.keys(""))

    def delete_and_fail() -> None:
        with transaction(sessions) as session:
            where = {"settings": world.settings, "storage": world.storage}
            jobs.delete(session, CALLER, job_id, notify=lambda _: None, **where)
            datasets.delete(session, world.storage, CALLER, dataset_id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        delete_and_fail()

    assert list(world.storage.keys("")) == before
    assert run_dir.exists()


def test_a_dataset_that_a_job_is_being_made_of_cannot_be_deleted(world, sessions):
    dataset_id = world.dataset()

    def delete() -> None:
        with transaction(sessions) as session:
            session.execute(text("SET LOCAL lock_timeout = '100ms'"))
            datasets.delete(session, world.storage, CALLER, dataset_id)

    with transaction(sessions) as making:
        assert datasets.find(making, CALLER, dataset_id) is not None
        with pytest.raises(OperationalError, match="lock timeout"):
            delete()
    delete()
