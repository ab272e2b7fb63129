"""One attempt at a job: prepare it, run the trainer, relay its reports, decide the outcome.

The database is written only under the lease. When the lease is lost, the process group is killed
and nothing is written, because the job no longer belongs to this worker.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog
from obstore.exceptions import BaseError as StoreError
from sqlalchemy import func, select

from app.core import store_keys
from app.core.db.models import Attempt as AttemptRow
from app.core.db.models import Job
from app.core.db.session import Sessions, transaction
from app.core.errors import Failure, Unavailable
from app.core.events.log import Entry
from app.core.events.notifier import Notifier
from app.core.jobs.failures import FailureReport, system_failure, user_failure
from app.core.jobs.lifecycle import Lease
from app.core.jobs.status import Desired, JobStatus
from app.core.settings import Settings
from app.core.storage import Storage
from worker.supervisor import artifact as artifacts
from worker.supervisor import resume
from worker.supervisor.conclusion import conclude
from worker.supervisor.lease_keeper import LeaseKeeper
from worker.supervisor.outcome import (
    REASONS,
    DeviceMissing,
    Died,
    Failed,
    Outcome,
    Stop,
    Succeeded,
    describe,
    is_out_of_time,
    judge,
    stuck,
)
from worker.supervisor.patience import patiently
from worker.supervisor.relay import Relay
from worker.supervisor.run_directory import DatasetGone, RunDirectories, publish_only
from worker.supervisor.trainer_log import last_words
from worker.supervisor.trainer_process import TrainerProcess
from worker.threads import in_background

T = TypeVar("T")
_log = structlog.get_logger(__name__)

_TICK_SECONDS = 0.25
"""Seconds between two batches of reports."""


@dataclass(frozen=True)
class Workplace:
    """Settings, connections and the trainer command of a supervisor."""

    settings: Settings
    sessions: Sessions
    storage: Storage
    notifier: Notifier
    command: Sequence[str]
    """Command that starts a trainer; the run directory is appended."""
    should_drain: Callable[[], bool]
    stop_claiming: Callable[[], None] = lambda: None
    """Called when the worker's device is not there: no further job would fare better."""


class Interrupted(Exception):
    """A stop was requested before or after the trainer ran."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop


class Attempt:
    def __init__(self, workplace: Workplace, job: Job, keeper: LeaseKeeper) -> None:
        self._at = workplace
        self._settings = workplace.settings
        self._job = job
        self._lease = Lease(job.id, job.epoch)
        self._keeper = keeper
        self._runs = RunDirectories(self._settings, workplace.sessions, workplace.storage)
        self._run_dir = self._runs.path(job)
        self._relay = Relay(workplace.sessions, self._lease, workplace.notifier, self._run_dir)
        self._deadline_at = self._deadline()
        self._is_publishing = False
        """The time is up, and a trainer publishes the adapter of a checkpoint."""

    def run(self) -> JobStatus:
        """Run the attempt and return the job's new status. Raises LeaseLost."""
        try:
            outcome = self._train()
            if isinstance(outcome, DeviceMissing):
                _log.error("device_missing", device=self._settings.device)
                self._at.stop_claiming()
            if isinstance(outcome, Succeeded):
                return self._succeed(outcome)
        except Interrupted as interrupted:
            outcome = judge(0, stop=interrupted.stop, failure=None, artifact=None)
        finally:
            self._keep_log()
        return self._conclude(outcome)

    def _train(self) -> Outcome:
        try:
            run_dir = self._while_held(
                "prepare", lambda: self._runs.prepare(self._job), self._why_not_prepare
            )
        except Unavailable as error:
            return Died(system_failure(error.code, error.detail, hint=_hint(error)))
        except (StoreError, OSError) as error:
            return Died(_storage_failure(error))
        except DatasetGone:
            return Failed(user_failure("dataset_gone", "The dataset was deleted."))
        except Failure as error:
            return Failed(user_failure(error.code, error.detail, hint=_hint(error)))
        resume.note(self._at.sessions, self._lease, run_dir, seconds=self._settings.outage_seconds)
        if not self._is_publishing:
            outcome = self._supervise(run_dir)
            if not is_out_of_time(outcome) or not self._has_checkpoint():
                return outcome
        return self._publish_checkpoint(run_dir)

    def _publish_checkpoint(self, run_dir: Path) -> Outcome:
        """Run a trainer that trains no further: what was trained in time is not lost."""
        self._is_publishing = True
        publish_only(run_dir)
        self._relay.failure, self._relay.last_sign_at = None, time.monotonic()
        message = "The time limit has passed; an adapter is made of what was trained."
        self._relay.note(Entry("log", message))
        return self._supervise(run_dir)

    def _supervise(self, run_dir: Path) -> Outcome:
        trainer = TrainerProcess(
            self._at.command,
            run_dir,
            take=self._relay.take,
            max_log_bytes=self._settings.max_log_bytes,
            grace_seconds=self._settings.stop_grace_seconds,
        )
        stop: Stop | None = None
        try:
            while (status := trainer.wait(_TICK_SECONDS)) is None and not trainer.is_stuck:
                self._keeper.check()
                self._relay.flush()
                stop = stop or self._why_stop()
                if stop is not None:
                    trainer.stop(REASONS[stop])
                    trainer.press()
        finally:
            trainer.close()
        if status is None:
            return stuck(stop)
        _log.info("trainer_ended", status=status, stop=stop, num_garbage=trainer.num_garbage)
        self._note_end(status, stop, trainer.num_garbage)
        self._patiently(self._relay.flush_last)
        return judge(
            status,
            stop=stop,
            failure=self._relay.failure,
            artifact=self._relay.artifact,
            last_words=last_words(run_dir / "trainer.log"),
        )

    def _why_stop(self) -> Stop | None:
        now = time.monotonic()
        if self._keeper.desired is Desired.CANCEL:
            return Stop.CANCEL
        if self._at.should_drain():
            return Stop.DRAIN
        if self._is_past_deadline(now):
            return Stop.DEADLINE
        if now - self._relay.last_sign_at > self._settings.stall_seconds:
            return Stop.STALL
        if self._keeper.seconds_unrenewed > self._settings.outage_seconds:
            return Stop.OUTAGE
        return None

    def _why_not_prepare(self) -> Stop | None:
        """The deadline does not end an attempt that can publish what earlier ones trained."""
        stop = self._why_stop()
        if stop is not Stop.DEADLINE or not self._has_checkpoint():
            return stop
        self._is_publishing = True
        return self._why_stop()

    def _has_checkpoint(self) -> bool:
        return bool(resume.folders(self._run_dir.parent, self._job.epoch + 1))

    def _is_past_deadline(self, now: float) -> bool:
        if self._is_publishing or self._relay.phase == "finalizing":
            # Training ended in time; the deadline does not cover verifying and saving.
            return False
        return self._deadline_at is not None and now >= self._deadline_at

    def _why_not_publish(self) -> Stop | None:
        """A verified adapter is published unless the job was cancelled."""
        return Stop.CANCEL if self._keeper.desired is Desired.CANCEL else None

    def _succeed(self, outcome: Succeeded) -> JobStatus:
        folder = self._run_dir / "artifact"
        to = store_keys.artifact(self._job.id, self._job.epoch)

        def verify_and_publish() -> dict[str, object]:
            files = artifacts.verify(folder, outcome.artifact.files)
            return artifacts.publish(self._at.storage, folder, files, to)

        try:
            artifact = self._while_held("publish", verify_and_publish, self._why_not_publish)
        except artifacts.BadArtifact as error:
            return self._conclude(Died(system_failure("artifact_invalid", str(error))))
        except (StoreError, OSError) as error:
            return self._conclude(Died(_storage_failure(error)))
        status = self._conclude(outcome, artifact)
        shutil.rmtree(folder, ignore_errors=True)
        return status

    def _conclude(self, outcome: Outcome, artifact: dict[str, object] | None = None) -> JobStatus:
        def write() -> JobStatus:
            with transaction(self._at.sessions) as session:
                return conclude(session, self._lease, outcome, self._settings, artifact=artifact)

        status = self._patiently(write)
        self._at.notifier.notify_followers(self._job.id)
        return status

    def _while_held(
        self, name: str, work: Callable[[], T], why_stop: Callable[[], Stop | None]
    ) -> T:
        """Return the result of work that may block; raise Interrupted or LeaseLost meanwhile."""
        future = in_background(name, work)
        while not future.done():
            self._keeper.check()
            self._relay.last_sign_at = time.monotonic()
            stop = why_stop()
            if stop is not None:
                raise Interrupted(stop)
            time.sleep(0.02)
        return future.result()

    def _patiently(self, work: Callable[[], T]) -> T:
        return patiently(work, seconds=self._settings.outage_seconds)

    def _deadline(self) -> float | None:
        """Monotonic time at which all attempts together exceed `max_seconds`; None if unlimited."""
        limits = self._job.spec.get("limits") or {}
        seconds = limits.get("max_seconds")
        if seconds is None:
            return None
        took = func.extract("epoch", AttemptRow.ended_at - AttemptRow.started_at)
        earlier = (AttemptRow.job_id == self._job.id, AttemptRow.epoch < self._job.epoch)
        started = time.monotonic()

        def read() -> float:
            with transaction(self._at.sessions) as session:
                return float(session.scalar(select(func.sum(took)).where(*earlier)) or 0)

        return started + float(seconds) - self._patiently(read)

    def _note_end(self, status: int, stop: Stop | None, num_garbage: int) -> None:
        if num_garbage:
            data = {"code": "report_garbage", "num_lines": num_garbage}
            self._relay.note(Entry("warning", "unreadable reports were ignored", "warning", data))
        if status < 0 and stop is None:
            exit_data = {"code": "trainer_exit", "signal": -status}
            self._relay.note(Entry("warning", describe(status), "warning", exit_data))

    def _keep_log(self) -> None:
        """Store the trainer log. Best effort: a failure to store it must not fail the job."""
        path = self._run_dir / "trainer.log"
        try:
            if path.is_file():
                key = store_keys.log(self._job.id, self._job.epoch)
                self._at.storage.write_file(key, path)
        except (StoreError, OSError) as error:
            _log.warning("log_not_stored", error=type(error).__name__)


def _hint(error: Failure) -> str:
    return str(error.extra.get("hint", "")) or "".join(each.hint for each in error.errors[:1])


def _storage_failure(error: Exception) -> FailureReport:
    kind = type(error).__name__
    code = "disk_full" if getattr(error, "errno", None) == 28 else "storage_unavailable"
    return system_failure(code, f"The store could not be read or written ({kind}).")
