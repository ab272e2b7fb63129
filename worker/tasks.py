"""The only Celery task: it wakes a worker."""

from typing import Any

import structlog

from app.core.queue import WAKE_TASK
from app.core.settings import Settings
from worker.celery_app import celery_app
from worker.supervisor import wiring

_log = structlog.get_logger(__name__)


@celery_app.task(name=WAKE_TASK, bind=True)  # type: ignore[untyped-decorator]
def wake(self: Any, queue: str = "") -> None:
    """Look for work. The message names no job: the database and this worker's settings decide which
    job is claimed, and from which queue.
    """
    try:
        wiring.work(Settings(), self.request.hostname)
    except BaseException:
        # If raised, a MemoryError would bring down the whole Celery worker.
        _log.exception("wake_failed", queue=queue)
