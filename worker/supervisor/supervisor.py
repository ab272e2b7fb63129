"""Claims jobs one after another and runs each, until none is left that this worker may claim."""

from dataclasses import dataclass

import structlog
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.core.db.models import Job, Worker
from app.core.db.session import OUTAGE, transaction
from app.core.jobs import lifecycle, retries
from app.core.jobs.failures import system_failure
from app.core.jobs.lifecycle import Lease, LeaseLost
from worker.supervisor import orphans
from worker.supervisor.attempt import Attempt, Workplace
from worker.supervisor.lease_keeper import LeaseKeeper
from worker.supervisor.patience import patiently

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Supervisor:
    workplace: Workplace
    worker_id: str

    def drain(self) -> int:
        """Run jobs until the queue has none for us; return the number of attempts."""
        num_attempts = 0
        while not self.workplace.should_drain():
            orphans.sweep(self.workplace.settings.runs_dir)
            job = self._next()
            if job is None:
                break
            num_attempts += 1
            with structlog.contextvars.bound_contextvars(job_id=job.id, epoch=job.epoch):
                self._attend(job)
        return num_attempts

    def _next(self) -> Job | None:
        try:
            return self._claim()
        except OUTAGE as error:
            _log.warning("no_claim", error=type(error).__name__)
            return None

    def _claim(self) -> Job | None:
        settings = self.workplace.settings
        with transaction(self.workplace.sessions) as session:
            job = lifecycle.claim(
                session,
                queue=settings.queue,
                worker_id=self.worker_id,
                seconds=settings.lease_seconds,
            )
            if job is not None:
                self._show(session, job.id)
        if job is not None:
            self.workplace.notifier.notify_followers(job.id)
        return job

    def _attend(self, job: Job) -> None:
        settings = self.workplace.settings
        lease = Lease(job.id, job.epoch)
        _log.info("job_claimed", attempt=job.attempt)
        keeper = LeaseKeeper(
            self.workplace.sessions,
            lease,
            lease_seconds=settings.lease_seconds,
            renew_seconds=settings.renew_seconds,
        )
        try:
            with keeper:
                status = Attempt(self.workplace, job, keeper).run()
            _log.info("job_left", status=status)
        except LeaseLost:
            _log.warning("lease_lost")
        except OUTAGE as error:
            # The lease expires and the housekeeper reclaims the job.
            _log.error("job_abandoned", error=type(error).__name__)
        except Exception as error:
            _log.exception("attempt_crashed")
            self._give_back(lease, error)
        finally:
            self._show_idle()

    def _give_back(self, lease: Lease, error: Exception) -> None:
        """The supervisor is at fault, not the job: retry it, within the usual limits."""
        died_of = system_failure("supervisor_error", f"The worker failed: {type(error).__name__}.")
        base = self.workplace.settings.retry_base_seconds

        def write() -> None:
            with transaction(self.workplace.sessions) as session:
                retries.retry_or_fail(session, lease, died_of, base_seconds=base)

        try:
            patiently(write, seconds=self.workplace.settings.lease_seconds)
        except (LeaseLost, *OUTAGE):
            _log.warning("job_not_given_back")
        except Exception:
            # The lease expires and the housekeeper reclaims the job.
            _log.exception("job_not_given_back")

    def _show(self, session: Session, job_id: str | None) -> None:
        session.execute(update(Worker).where(Worker.id == self.worker_id).values(job_id=job_id))

    def _show_idle(self) -> None:
        try:
            with transaction(self.workplace.sessions) as session:
                self._show(session, None)
        except OUTAGE:
            _log.warning("worker_row_not_written")
