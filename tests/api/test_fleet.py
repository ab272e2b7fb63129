"""The queue with its waiting reasons, and the list of workers."""

from datetime import timedelta

from sqlalchemy import update

from app.core.clock import rfc3339, utc_now
from app.core.db.models import Job, Worker
from app.core.db.session import transaction
from tests.api.test_jobs import create


def test_the_queue_tells_order_and_reasons(client, world, sessions):
    late = create(client, world)["id"]
    first = create(client, world, priority=5)["id"]
    held = client.post("/jobs", json={"model": "tiny", "dataset": world.dataset("validating")})
    create(client, world)
    until = utc_now() + timedelta(minutes=3)
    with transaction(sessions) as session:
        session.add(
            Worker(id="worker_1", hostname="h", pid=1, device="cpu", queue="default", version="1")
        )
        backing_off = update(Job).where(Job.id == late)
        session.execute(backing_off.values(not_before=until, status_reason="worker_lost"))

    waiting = client.get("/queue").json()["data"]

    assert [one["job"] for one in waiting][:2] == [first, late]
    assert waiting[-1]["job"] == held.json()["id"]
    assert [one["position"] for one in waiting] == [1, 2, 3, None]
    assert waiting[0]["reason"] == "waiting for a worker"
    assert waiting[1]["reason"] == f"backing off until {rfc3339(until)} after worker_lost"
    assert waiting[1]["estimated_start"] == rfc3339(until)
    assert waiting[3]["reason"] == "validating dataset"


def test_the_queue_tells_that_nobody_serves_it(client, world):
    create(client, world)

    assert "no worker is alive" in client.get("/queue").json()["data"][0]["reason"]


def test_workers_are_alive_or_lost(client, sessions):
    with transaction(sessions) as session:
        for number, age in enumerate([0, 60]):
            seen = utc_now() - timedelta(seconds=age)
            session.add(
                Worker(
                    id=f"worker_{number}",
                    hostname="h",
                    pid=1,
                    device="cpu",
                    queue="default",
                    version="1",
                    last_seen_at=seen,
                )
            )

    found = client.get("/workers").json()["data"]

    assert [(one["id"], one["status"]) for one in found] == [
        ("worker_0", "alive"),
        ("worker_1", "lost"),
    ]
