"""Renews a job's lease from a background thread and reads its `desired` state, such as a cancel."""

import threading
import time
from types import TracebackType

import structlog
from sqlalchemy import select

from app.core.db.models import Job
from app.core.db.session import OUTAGE, Sessions, transaction
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease, LeaseLost
from app.core.jobs.status import Desired, JobStatus
from worker.threads import start_thread

_log = structlog.get_logger(__name__)
_LOOK_SECONDS = 1.0
"""Between two reads of `desired`: how long a cancel can go unnoticed."""


class LeaseKeeper:
    def __init__(
        self, sessions: Sessions, lease: Lease, *, lease_seconds: float, renew_seconds: float
    ) -> None:
        self._sessions = sessions
        self._lease = lease
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._over = threading.Event()
        self._renewed_at = time.monotonic()
        self.desired = Desired.RUN
        self.is_lost = False

    def __enter__(self) -> "LeaseKeeper":
        self._thread = start_thread("lease", self._run)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(timeout=10)

    @property
    def seconds_unrenewed(self) -> float:
        return time.monotonic() - self._renewed_at

    def check(self) -> None:
        """Raise LeaseLost if the job no longer belongs to us."""
        if self.is_lost:
            raise LeaseLost(self._lease.job_id)

    def _run(self) -> None:
        while not self._over.wait(min(_LOOK_SECONDS, self._renew_seconds)):
            try:
                self.desired = self._renew() if self._is_due() else self._look()
            except LeaseLost:
                self.is_lost = True
                return
            except OUTAGE as error:
                _log.warning("lease_not_renewed", error=type(error).__name__)
            except Exception:
                # If this thread ended silently, the lease would expire.
                _log.exception("lease_not_renewed")

    def _is_due(self) -> bool:
        return self.seconds_unrenewed >= self._renew_seconds

    def _renew(self) -> Desired:
        # Read before the write, so that the lease is never assumed to last longer than it does.
        at = time.monotonic()
        with transaction(self._sessions) as session:
            desired = lifecycle.renew(session, self._lease, self._lease_seconds)
        self._renewed_at = at
        return desired

    def _look(self) -> Desired:
        held = (
            Job.id == self._lease.job_id,
            Job.epoch == self._lease.epoch,
            Job.status == JobStatus.RUNNING,
        )
        with transaction(self._sessions) as session:
            desired = session.scalar(select(Job.desired).where(*held))
        if desired is None:
            raise LeaseLost(self._lease.job_id)
        return Desired(desired)
