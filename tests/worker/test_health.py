"""The container's health check: a worker is healthy while its row is fresh."""

from datetime import timedelta

from app.core.db.models import NOW, Worker
from app.core.db.session import transaction
from worker import health


def add_worker(sessions, hostname: str, age: timedelta) -> None:
    with transaction(sessions) as session:
        session.add(
            Worker(
                id=f"worker-{hostname}",
                hostname=hostname,
                pid=1,
                device="cpu",
                queue="default",
                version="0",
                last_seen_at=NOW - age,
            )
        )


def test_only_a_worker_seen_lately_on_this_machine_is_well(sessions):
    add_worker(sessions, "fresh", timedelta(seconds=5))
    add_worker(sessions, "stale", timedelta(minutes=5))

    assert health.is_seen(sessions, "fresh")
    assert not health.is_seen(sessions, "stale")
    assert not health.is_seen(sessions, "other")
