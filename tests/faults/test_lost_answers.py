"""A commit that takes effect although its response is lost."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.core.db.session import transaction
from app.core.events.log import Entry
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease
from tests.faults import invariants
from tests.worker.bench import Bench
from worker.supervisor.relay import Relay


class Unsure(sessionmaker[Session]):
    """Sessions whose next commits raise an error, whether they were carried out or not."""

    def __init__(self, **kw: Any) -> None:
        super().__init__(**kw)
        self.carried_out: list[bool] = []

    def __call__(self, **local: Any) -> Session:
        session = super().__call__(**local)
        if self.carried_out:
            is_carried_out, commit = self.carried_out.pop(0), session.commit

            def cut() -> None:
                if is_carried_out:
                    commit()
                raise OperationalError("COMMIT", {}, Exception("the connection broke"))

            session.commit = cut  # type: ignore[method-assign]
        return session


@pytest.mark.parametrize(
    "carried_out",
    [[True], [False], [True, True], [True, False], [False, True], [False, False], [True] * 4],
)
def test_events_are_told_once_whichever_answers_are_lost(
    bench: Bench, tmp_path: Path, carried_out: list[bool]
) -> None:
    job_id = bench.submit()
    with transaction(bench.sessions) as session:
        job = lifecycle.claim(session, queue="default", worker_id="worker-1", seconds=30)
        assert job is not None
    sessions = Unsure(**bench.sessions.kw)
    relay = Relay(sessions, Lease(job_id, job.epoch), bench.notifier, tmp_path)
    numbered = iter(range(100))

    def note(number: int) -> None:
        for _ in range(number):
            relay.note(Entry("log", "said", data={"number": next(numbered), "loss": 0.1 + 0.2}))

    note(2)
    relay.flush()
    sessions.carried_out = list(carried_out)
    while sessions.carried_out:
        note(2)
        relay.flush()
    note(1)
    relay.flush_last()

    numbers = [event.data["number"] for event in bench.events(job_id, "log")]
    assert numbers == list(range(next(numbered)))
    invariants.check(bench.settings, bench.sessions, [job_id])
