"""Puts a supervisor together from settings, in the process that is to run it."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from app.core.db.session import make_engine, make_sessions
from app.core.events.bell import Bell
from app.core.settings import Settings
from app.core.storage import open_storage
from worker.attempt import Workplace
from worker.slot import Slot
from worker.supervisor import Supervisor
from worker.trainer_process import TRAINER

_log = structlog.get_logger(__name__)


class NotConfigured(SystemExit):
    def __init__(self, name: str) -> None:
        super().__init__(f"Set TUNESMITH_{name}: a worker needs to be told where it is.")


def database_url(settings: Settings) -> str:
    if settings.database_url is None:
        raise NotConfigured("DATABASE_URL")
    return settings.database_url


def redis_url(settings: Settings) -> str:
    if settings.redis_url is None:
        raise NotConfigured("REDIS_URL")
    return settings.redis_url


@contextmanager
def open_supervisor(settings: Settings, worker_id: str, slot: Slot) -> Iterator[Supervisor]:
    engine = make_engine(database_url(settings), pool_size=2)
    bell = Bell(redis_url(settings))
    try:
        workplace = Workplace(
            settings=settings,
            sessions=make_sessions(engine),
            storage=open_storage(settings),
            bell=bell,
            command=settings.trainer_command or TRAINER,
            should_drain=lambda: slot.is_draining,
        )
        yield Supervisor(workplace, worker_id)
    finally:
        engine.dispose()
        bell.close()


def work(settings: Settings, worker_id: str) -> int:
    """Take the worker's slot, if it is free, and attend to jobs until none is left."""
    slot = Slot(settings.data_dir, worker_id)
    with slot.held() as is_ours:
        if not is_ours:
            return 0
        with open_supervisor(settings, worker_id, slot) as supervisor:
            return supervisor.drain()
