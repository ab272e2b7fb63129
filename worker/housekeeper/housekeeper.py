"""The housekeeper, `python -m worker.housekeeper`: wakes workers for queued jobs, reclaims jobs of
dead workers, deletes garbage, fetches imports and validates uploads.

Several may run: an advisory lock elects one leader; all of them fetch and validate.
"""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType

import structlog
from sqlalchemy import delete

from app.core import logs
from app.core.db.models import NOW, IdempotencyKey, Worker
from app.core.db.session import OUTAGE, Sessions, make_engine, make_sessions, transaction
from app.core.events.notifier import Notifier
from app.core.jobs.lifecycle import LeaseLost
from app.core.queue import WorkerQueue
from app.core.settings import Settings
from app.core.storage import open_storage
from worker.housekeeper import dispatch
from worker.housekeeper.garbage import Garbage
from worker.housekeeper.hub_imports import Imports
from worker.housekeeper.intake import Intake
from worker.housekeeper.leader import Leadership
from worker.servers import database_url, redis_url
from worker.threads import start_thread

_log = structlog.get_logger(__name__)
DISPATCH_SECONDS = 1.0
INTAKE_SECONDS = 0.3
GARBAGE_SECONDS = 600.0
FORGET = timedelta(days=1)
"""Age at which rows of unseen workers, and idempotency keys, are deleted: the API no longer honours
those keys."""


@dataclass
class Housekeeper:
    settings: Settings
    sessions: Sessions
    worker_queue: WorkerQueue
    notifier: Notifier
    garbage: Garbage
    leads_since: float | None = None
    """Monotonic time since when we have led without losing the database."""
    _next: dict[str, float] = field(default_factory=dict)

    def tick(self) -> None:
        """Do what is due. For the leader only."""
        now = time.monotonic()
        self.leads_since = self.leads_since or now
        self.dispatch()
        if self._is_due("reclaim", self.settings.reclaim_seconds):
            self.reclaim()
        if self._is_due("garbage", GARBAGE_SECONDS):
            self._forget_old_rows()
            self.garbage.collect()

    def dispatch(self) -> int:
        """Wake workers for queued jobs; return how many messages were sent.

        One message per job, up to the number of live workers, less those still in the queue.
        """
        with transaction(self.sessions) as session:
            due = dispatch.take_due(session, self.settings.wake_seconds)
            num_wakes = {
                queue: min(waiting, max(1, dispatch.num_workers(session, queue)))
                for queue, waiting in due.items()
            }
        num_sent = 0
        for queue, number in num_wakes.items():
            pending = self.worker_queue.num_pending(queue)
            if pending is None:
                continue
            num_sent += sum(self.worker_queue.wake_worker(queue) for _ in range(number - pending))
        return num_sent

    def reclaim(self) -> int:
        """Reclaim jobs of dead workers; return how many jobs changed.

        Not before we have led for a full lease: an outage that stopped us may have stopped their
        renewals as well.
        """
        since = self.leads_since
        if since is None or time.monotonic() - since < self.settings.lease_seconds:
            return 0
        with transaction(self.sessions) as session:
            leases = dispatch.expired(session, self.settings.lease_seconds)
            changed = dispatch.cancel_waiting(session)
        for lease in leases:
            with transaction(self.sessions) as session:
                base = self.settings.retry_base_seconds
                try:
                    went = dispatch.reclaim_expired(session, lease, base_seconds=base)
                except LeaseLost:
                    continue
            if went is not None:
                _log.warning("worker_lost", job_id=lease.job_id, epoch=lease.epoch, went=went)
                changed.append(lease.job_id)
        for job_id in changed:
            self.notifier.notify_followers(job_id)
        return len(changed)

    def _forget_old_rows(self) -> None:
        with transaction(self.sessions) as session:
            session.execute(delete(Worker).where(Worker.last_seen_at < NOW - FORGET))
            session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < NOW - FORGET))

    def _is_due(self, name: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._next.get(name, 0):
            return False
        self._next[name] = now + seconds
        return True


def lead(housekeeper: Housekeeper, leadership: Leadership, over: threading.Event) -> None:
    """Run the leader's loop until told to stop; no server failure ends it."""
    while not over.wait(DISPATCH_SECONDS):
        try:
            if leadership.hold():
                housekeeper.tick()
            else:
                housekeeper.leads_since = None
        except Exception as error:
            housekeeper.leads_since = None
            _report(error, "housekeeping_failed")
    leadership.release()


def take_in(intake: Intake | Imports, over: threading.Event) -> None:
    """Validate datasets, or fetch imports, until told to stop."""
    is_busy = False
    while not over.wait(0 if is_busy else INTAKE_SECONDS):
        try:
            is_busy = intake.take_one()
        except Exception as error:
            is_busy = False
            _report(error, "intake_failed")


def _report(error: Exception, event: str) -> None:
    if isinstance(error, OUTAGE):
        _log.warning("database_unavailable", error=type(error).__name__)
    else:
        _log.error(event, exc_info=error)


def main() -> None:
    settings = Settings()
    logs.configure(settings.log_format)
    over = threading.Event()
    signal.signal(signal.SIGTERM, _setter(over))
    signal.signal(signal.SIGINT, _setter(over))
    engine = make_engine(database_url(settings), pool_size=4)
    sessions = make_sessions(engine)
    storage = open_storage(settings)
    worker_queue = WorkerQueue(redis_url(settings))
    notifier = Notifier(redis_url(settings))
    housekeeper = Housekeeper(
        settings, sessions, worker_queue, notifier, Garbage(settings, sessions, storage)
    )
    intake = Intake(settings, sessions, storage, worker_queue, notifier)
    imports = Imports(settings, sessions, storage)
    # Separate threads: a slow Hub must not delay uploads.
    threads = [
        start_thread("intake", lambda: take_in(intake, over)),
        start_thread("imports", lambda: take_in(imports, over)),
    ]
    lead(housekeeper, Leadership(engine), over)
    last = time.monotonic() + 5
    for thread in threads:
        thread.join(timeout=max(0, last - time.monotonic()))
    engine.dispose()


def _setter(over: threading.Event) -> Callable[[int, FrameType | None], None]:
    return lambda _number, _frame: over.set()
