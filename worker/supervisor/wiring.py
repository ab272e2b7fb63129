"""Builds a supervisor from settings, in the process that will run it."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from app.core.db.session import make_engine, make_sessions
from app.core.events.notifier import Notifier
from app.core.settings import Settings
from app.core.storage import open_storage
from worker.servers import database_url, redis_url
from worker.slot import Slot
from worker.supervisor.attempt import Workplace
from worker.supervisor.supervisor import Supervisor
from worker.supervisor.trainer_process import TRAINER

_log = structlog.get_logger(__name__)


@contextmanager
def open_supervisor(settings: Settings, worker_id: str, slot: Slot) -> Iterator[Supervisor]:
    engine = make_engine(database_url(settings), pool_size=2)
    notifier = Notifier(redis_url(settings))
    try:
        workplace = Workplace(
            settings=settings,
            sessions=make_sessions(engine),
            storage=open_storage(settings),
            notifier=notifier,
            command=settings.trainer_command or TRAINER,
            should_drain=lambda: slot.is_draining,
            stop_claiming=slot.drain,
        )
        yield Supervisor(workplace, worker_id)
    finally:
        engine.dispose()
        notifier.close()


def work(settings: Settings, worker_id: str) -> int:
    """Run jobs until none is left, if the worker's slot is free; return how many attempts."""
    slot = Slot(settings.data_dir, worker_id)
    with slot.held() as is_ours:
        if not is_ours:
            return 0
        with open_supervisor(settings, worker_id, slot) as supervisor:
            return supervisor.drain()
