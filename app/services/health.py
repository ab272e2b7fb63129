"""Readiness and statistics, for probes and Prometheus."""

from dataclasses import asdict, dataclass

from redis import Redis, RedisError
from sqlalchemy import Engine, Select, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.core.db import migrate
from app.core.db.models import NOW, Dataset, Job
from app.core.db.session import Sessions, transaction
from app.core.errors import Unavailable
from app.core.jobs.status import JobStatus
from app.core.settings import Settings
from app.services import queue

PING_SECONDS = 1.0


@dataclass(frozen=True)
class Readiness:
    database: bool
    migrations: bool
    broker: bool

    @property
    def can_serve(self) -> bool:
        """Without a broker jobs are still accepted; workers poll the database for them."""
        return self.database and self.migrations

    @property
    def status(self) -> str:
        return "ok" if self.broker else "degraded"

    @property
    def checks(self) -> dict[str, str]:
        return {name: "ok" if is_ok else "failing" for name, is_ok in asdict(self).items()}


@dataclass(frozen=True)
class Stats:
    jobs: dict[str, int]
    datasets: dict[str, int]
    queued: dict[str, int]
    """Jobs by queue."""
    oldest_wait_seconds: float
    workers_alive: int


class NotReady(Unavailable):
    code = "not_ready"


def readiness(engine: Engine, settings: Settings) -> Readiness:
    """Check the dependencies, within about five seconds even if one hangs. Raises NotReady."""
    try:
        is_current, is_up = migrate.is_current(engine), True
    except SQLAlchemyError:
        is_current, is_up = False, False
    found = Readiness(is_up, is_current, _has_broker(settings))
    if not found.can_serve:
        reason = "lacks a migration" if is_up else "does not answer"
        raise NotReady(f"The database {reason}.", checks=found.checks)
    return found


def stats_or_none(sessions: Sessions, settings: Settings) -> Stats | None:
    """None while the database is down: scrapes must work especially then."""
    try:
        with transaction(sessions) as session:
            return stats(session, settings)
    except SQLAlchemyError:
        return None


def stats(session: Session, settings: Settings) -> Stats:
    """Count over all projects."""
    jobs = select(Job.status, func.count()).group_by(Job.status)
    datasets = (
        select(Dataset.status, func.count())
        .where(Dataset.deleted_at.is_(None))
        .group_by(Dataset.status)
    )
    queued = (
        select(Job.queue, func.count()).where(Job.status == JobStatus.QUEUED).group_by(Job.queue)
    )
    waited = func.extract("epoch", NOW - func.min(Job.queued_at))
    oldest = session.scalar(select(waited).where(Job.status == JobStatus.QUEUED))
    return Stats(
        jobs={str(status): 0 for status in JobStatus} | _counted(session, jobs),
        datasets=_counted(session, datasets),
        queued=_counted(session, queued),
        oldest_wait_seconds=float(oldest or 0),
        workers_alive=sum(seen.is_alive for seen in queue.workers(session, settings)),
    )


def _counted(session: Session, query: Select[str, int]) -> dict[str, int]:
    return {name: int(count) for name, count in session.execute(query)}


def _has_broker(settings: Settings) -> bool:
    assert settings.redis_url
    bounds = {"socket_timeout": PING_SECONDS, "socket_connect_timeout": PING_SECONDS}
    try:
        with Redis.from_url(settings.redis_url, **bounds) as client:
            return bool(client.ping())
    except RedisError:
        return False
