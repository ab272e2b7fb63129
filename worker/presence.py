"""`python -m worker.presence NODE PARENT`: runs beside a Celery worker, keeps its row in `workers`
fresh, and looks for work itself when a wake-up was missed.

A process, not a thread: Celery's main process forks, which is unsafe with open connections.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from types import FrameType

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app import __version__
from app.core import logs
from app.core.db.models import NOW, Job, Worker
from app.core.db.session import OUTAGE, Sessions, make_engine, make_sessions, transaction
from app.core.jobs.status import JobStatus
from app.core.settings import Settings
from worker import processes
from worker.devices import device_of
from worker.servers import database_url
from worker.slot import Slot
from worker.supervisor import wiring
from worker.threads import start_thread

_log = structlog.get_logger(__name__)
_BEAT_SECONDS = 10.0
_LOOK_SECONDS = 30.0


class Presence:
    def __init__(self, settings: Settings, sessions: Sessions, worker_id: str) -> None:
        self._settings = settings
        self._sessions = sessions
        self._id = worker_id
        self._device = device_of(settings.device)
        self._over = threading.Event()

    def leave(self) -> None:
        self._over.set()
        Slot(self._settings.data_dir, self._id).drain()

    def beat(self) -> None:
        while not self._over.is_set():
            self._try(self._show)
            self._over.wait(_BEAT_SECONDS)
        self._try(self._forget)

    def look(self) -> None:
        """Look for missed work. Main thread only: a trainer dies with its starting thread."""
        while not self._over.wait(min(_LOOK_SECONDS, self._settings.wake_seconds)):
            self._try(self._pull)

    def _pull(self) -> None:
        if self._is_unclaimed():
            _log.warning("wake_missed")
            wiring.work(self._settings, self._id)

    def _is_unclaimed(self) -> bool:
        """Whether a job is still queued in our queue although its wake-up had time to arrive."""
        since = NOW - timedelta(seconds=self._settings.wake_seconds)
        waiting = select(Job.id).where(
            Job.status == JobStatus.QUEUED,
            Job.queue == self._settings.queue,
            func.coalesce(Job.queued_at, Job.created_at) < since,
            (Job.not_before.is_(None)) | (Job.not_before < since),
        )
        with transaction(self._sessions) as session:
            return session.scalar(waiting.limit(1)) is not None

    def _show(self) -> None:
        mine = (Job.worker_id == self._id, Job.status == JobStatus.RUNNING)
        row = {
            "id": self._id,
            "hostname": socket.gethostname(),
            "pid": os.getppid(),
            "device": self._device,
            "queue": self._settings.queue,
            "version": __version__,
            "job_id": select(Job.id).where(*mine).limit(1).scalar_subquery(),
        }
        arrive = insert(Worker).values(**row)
        with transaction(self._sessions) as session:
            session.execute(
                arrive.on_conflict_do_update(
                    index_elements=["id"], set_={**row, "last_seen_at": NOW}
                )
            )

    def _forget(self) -> None:
        with transaction(self._sessions) as session:
            session.execute(delete(Worker).where(Worker.id == self._id))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OUTAGE as error:
            _log.warning("database_unavailable", error=type(error).__name__)
        except Exception:
            _log.exception("presence_failed")


def main() -> None:
    node, parent = sys.argv[1:]
    # An argument, not deduced from the parent being pid 1: in a container the worker may be pid 1.
    if not processes.die_with(int(parent)):
        raise SystemExit("The Celery worker that started this process has exited.")
    settings = Settings()
    logs.configure(settings.log_format)
    engine = make_engine(database_url(settings), pool_size=2)
    presence = Presence(settings, make_sessions(engine), node)

    def leave(_: int, __: FrameType | None) -> None:
        presence.leave()

    signal.signal(signal.SIGTERM, leave)
    # Ctrl-C signals the whole foreground process group; Celery decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    beat = start_thread("beat", presence.beat)
    presence.look()
    beat.join(timeout=10)
    engine.dispose()


if __name__ == "__main__":
    main()
