"""Engine, sessions, the one transaction at the edge, and actions queued to follow its commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

Sessions = sessionmaker[Session]
_AFTER = "after_commit"
OUTAGE = (OperationalError, InterfaceError, PoolTimeout)
"""Errors of a database that is down, or too busy for another connection."""


def make_engine(url: str, *, pool_size: int = 10, statement_seconds: float = 5) -> Engine:
    """Create an engine whose waits are all bounded: 2 s to connect, 2 s for a pooled connection,
    `statement_seconds` per query.

    A database that hangs must cost a request seconds, never a thread.
    """
    milliseconds = int(statement_seconds * 1000)
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=2,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 2,
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
            f" -c idle_in_transaction_session_timeout={4 * milliseconds}",
            "application_name": "tunesmith",
            # A server that vanished without closing its connections is noticed within seconds, too.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        },
    )


def make_sessions(engine: Engine) -> Sessions:
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def transaction(sessions: Sessions) -> Iterator[Session]:
    """One transaction: committed at the end, rolled back on any exception."""
    with sessions() as session:
        yield session
        commit(session)


def commit(session: Session) -> None:
    """Commit, then run the actions queued by `after_commit`, once."""
    session.commit()
    for action in session.info.pop(_AFTER, []):
        action()


def after_commit(session: Session, action: Callable[[], None]) -> None:
    """Queue an action, such as a message that must not precede its row. Dropped on rollback."""
    session.info.setdefault(_AFTER, []).append(action)
