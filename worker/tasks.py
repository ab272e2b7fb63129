"""The Celery tasks: one, which wakes a worker up."""

from typing import Any

import structlog

from app.core.queue import WAKE_TASK
from app.core.settings import Settings
from worker.celery_app import celery_app
from worker.supervisor import wiring

_log = structlog.get_logger(__name__)


@celery_app.task(name=WAKE_TASK, bind=True)  # type: ignore[untyped-decorator]
def wake(self: Any, queue: str = "") -> None:
    """Look for work. The message says nothing else: which job, and of which queue, the database
    and our own settings decide.
    """
    try:
        wiring.work(Settings(), self.request.hostname)
    except BaseException:
        # Raised, a MemoryError would take the whole Celery worker along.
        _log.exception("wake_failed", queue=queue)
