"""The one transaction at the edge, and the actions that follow its commit."""

import time

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from app.core.db.models import Project
from app.core.db.session import (
    Sessions,
    after_commit,
    commit,
    make_engine,
    make_sessions,
    transaction,
)


def test_what_is_queued_runs_after_the_commit_and_can_read_the_row(sessions: Sessions) -> None:
    seen: list[str | None] = []

    def look() -> None:
        with transaction(sessions) as other:
            seen.append(other.scalar(select(Project.name).where(Project.id == "proj_x")))

    with transaction(sessions) as session:
        session.add(Project(id="proj_x", name="x"))
        session.flush()
        after_commit(session, look)
        assert seen == []

    assert seen == ["x"]


def test_an_error_undoes_everything_and_sends_nothing(sessions: Sessions) -> None:
    sent: list[int] = []

    def fail() -> None:
        with transaction(sessions) as session:
            session.add(Project(id="proj_x", name="x"))
            session.flush()
            after_commit(session, lambda: sent.append(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with transaction(sessions) as session:
        assert session.get(Project, "proj_x") is None
    assert sent == []


def test_what_is_queued_runs_once_however_often_is_committed(sessions: Sessions) -> None:
    sent: list[int] = []

    with sessions() as session:
        after_commit(session, lambda: sent.append(1))
        commit(session)
        commit(session)

    assert sent == [1]


def test_no_statement_runs_for_ever(database_url: str) -> None:
    engine = make_engine(database_url, statement_seconds=0.2)
    begun = time.monotonic()
    with pytest.raises(OperationalError), transaction(make_sessions(engine)) as session:
        session.execute(select(func.pg_sleep(30)))
    assert time.monotonic() - begun < 5
    engine.dispose()


def test_a_database_that_is_not_there_costs_seconds() -> None:
    engine = make_engine("postgresql+psycopg://u:p@127.0.0.1:1/x")
    begun = time.monotonic()
    with pytest.raises(OperationalError), transaction(make_sessions(engine)) as session:
        session.execute(text("SELECT 1"))
    assert time.monotonic() - begun < 4
