"""From reports to rows: what counts as getting on, and what is told when there is too much."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.core.db.models import Checkpoint
from app.core.db.session import transaction
from app.core.events.log import Entry
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease
from app.core.jobs.protocol import Report
from tests.faults.test_lost_answers import Unsure
from tests.worker.bench import Bench
from worker.supervisor.relay import MAX_METRIC_EVENTS, Relay


@pytest.fixture
def lease(bench: Bench) -> Lease:
    bench.submit()
    with transaction(bench.sessions) as session:
        job = lifecycle.claim(session, queue="default", worker_id="worker-1", seconds=30)
        assert job is not None
        return Lease(job.id, job.epoch)


def test_a_heartbeat_is_no_sign_of_getting_on(bench: Bench, lease: Lease, tmp_path: Path) -> None:
    """A trainer that hangs may go on sending it."""
    relay = Relay(bench.sessions, lease, bench.notifier, tmp_path)
    relay.last_sign_at = 0.0

    relay.take(Report(type="heartbeat"))
    assert relay.last_sign_at == 0.0

    relay.take(Report(type="progress", data={"step": 1}))
    assert relay.last_sign_at > 0.0


@pytest.mark.parametrize("is_carried_out", [True, False])
def test_equal_events_are_each_written_after_a_lost_answer(
    bench: Bench, lease: Lease, tmp_path: Path, is_carried_out: bool
) -> None:
    """One of long ago is not taken for the one whose commit is in doubt."""
    sessions = Unsure(**bench.sessions.kw)
    relay = Relay(sessions, lease, bench.notifier, tmp_path)
    for _ in range(3):
        relay.note(Entry("log", "said"))
        relay.flush()

    sessions.carried_out = [is_carried_out]
    relay.note(Entry("log", "said"))
    relay.flush()
    relay.flush_last()

    assert len(bench.events(lease.job_id, "log")) == 4


class Away(sessionmaker[Session]):
    """Its first commit fails, and `meanwhile` happens before it is known."""

    meanwhile: Callable[[], None] | None = None

    def __call__(self, **local: Any) -> Session:
        session = super().__call__(**local)
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None

            def fail() -> None:
                happens()
                raise OperationalError("COMMIT", {}, Exception("the database is away"))

            session.commit = fail  # type: ignore[method-assign]
        return session


def test_what_comes_during_an_outage_is_told_after_what_was_waiting(
    bench: Bench, lease: Lease, tmp_path: Path
) -> None:
    sessions = Away(**bench.sessions.kw)
    relay = Relay(sessions, lease, bench.notifier, tmp_path)
    relay.note(Entry("log", "waiting"))
    sessions.meanwhile = lambda: relay.note(Entry("log", "meanwhile"))

    relay.flush()
    relay.flush_last()

    told = [event.message for event in bench.events(lease.job_id, "log")]
    assert told == ["waiting", "meanwhile"]


def test_of_a_flood_of_metrics_the_newest_are_told(
    bench: Bench, lease: Lease, tmp_path: Path
) -> None:
    relay = Relay(bench.sessions, lease, bench.notifier, tmp_path)
    last = 3 * MAX_METRIC_EVENTS

    for step in range(1, last + 1):
        relay.take(Report(type="metrics", data={"step": step, "values": {"train_loss": 1.0}}))
    relay.flush_last()

    told = [event.data["step"] for event in bench.events(lease.job_id, "metrics")]
    assert told == list(range(last - MAX_METRIC_EVENTS + 1, last + 1))


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ({1: 3.0, 2: 2.0, 3: 1.0}, 3),
        ({1: 1.0, 2: 2.0}, 1),
        ({1: 2.0, 2: 2.0}, 1),
        ({1: None, 2: 2.0, 3: None}, 2),
        ({1: None}, None),
    ],
)
def test_at_most_one_checkpoint_is_the_best(
    bench: Bench,
    lease: Lease,
    tmp_path: Path,
    losses: dict[int, float | None],
    best: int | None,
) -> None:
    relay = Relay(bench.sessions, lease, bench.notifier, tmp_path)
    for step, loss in losses.items():
        metrics = {} if loss is None else {"valid_loss": loss}
        data = {"step": step, "metrics": metrics, "best": loss is not None}
        relay.take(Report(type="checkpoint", data=data))
        relay.flush()

    with transaction(bench.sessions) as session:
        found = session.scalars(select(Checkpoint.step).where(Checkpoint.best)).all()
    assert found == ([] if best is None else [best])
