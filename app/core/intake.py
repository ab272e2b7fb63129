"""Takes uploads in: claims a dataset, has it validated in a child process, stores what came out,
and lets the jobs that waited for it go on.

A claim is a lease: a process that dies half way loses it, and the next one does the work again.
What is written does not depend on who does it.
"""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from obstore.exceptions import BaseError as StoreError
from sqlalchemy import exists, or_, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.core.datasets import progress, stored
from app.core.datasets.validate import Verdict, validate_in_child
from app.core.db.models import NOW, Dataset, Job
from app.core.db.session import Sessions, after_commit, transaction
from app.core.events.bell import Bell
from app.core.jobs import lifecycle
from app.core.jobs.status import JobStatus
from app.core.queue import Queue
from app.core.settings import Settings
from app.core.storage import Storage

_log = structlog.get_logger(__name__)
MAX_FAILURES = 3
"""Tries of one process at a dataset, before it is declared invalid for our own failing."""
_PROGRESS_SECONDS = 1.0

Validate = Callable[..., Verdict]


class UploadGone(Exception):
    """Deleted meanwhile, or never uploaded whole."""


@dataclass
class Intake:
    settings: Settings
    sessions: Sessions
    storage: Storage
    queue: Queue
    bell: Bell
    validate: Validate = validate_in_child
    _num_failures: dict[str, int] = field(default_factory=dict)

    def take_one(self) -> bool:
        """Judge the next upload, if any; then settle the jobs that wait. False when idle."""
        claimed = self._claim()
        if claimed is not None:
            with structlog.contextvars.bound_contextvars(dataset_id=claimed[0]):
                self._judge(*claimed)
        return self._settle() > 0 or claimed is not None

    def _claim(self) -> tuple[str, str] | None:
        """The id and the declared format of the oldest upload nobody is at."""
        free = (Dataset.lease_until.is_(None)) | (Dataset.lease_until < NOW)
        oldest = (
            select(Dataset.id, Dataset.format)
            .where(Dataset.status == "validating", free)
            .order_by(Dataset.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with transaction(self.sessions) as session:
            row = session.execute(oldest).one_or_none()
            if row is None:
                return None
            self._hold(session, row.id)
            return row.id, row.format

    def _hold(self, session: Session, dataset_id: str) -> None:
        until = NOW + timedelta(seconds=self.settings.lease_seconds)
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(lease_until=until))

    def _judge(self, dataset_id: str, declared: str) -> None:
        try:
            with self._held(dataset_id), _temporary(self.settings) as folder:
                verdict = self._validate(dataset_id, declared, folder)
            self._write(dataset_id, verdict)
        except UploadGone:
            _log.warning("upload_gone")
            self._give_up(dataset_id)
        except OperationalError:
            raise
        except (StoreError, OSError) as error:
            # The store's or the disk's fault and not the upload's: not counted, and tried again
            # when the claim has lapsed.
            _log.warning("storage_unavailable", error=type(error).__name__)
        except Exception:
            _log.exception("intake_failed")
            failures = self._num_failures[dataset_id] = self._num_failures.get(dataset_id, 0) + 1
            if failures >= MAX_FAILURES:
                self._give_up(dataset_id)

    def _validate(self, dataset_id: str, declared: str, folder: Path) -> Verdict:
        wanted = select(Dataset.columns, Dataset.source).where(Dataset.id == dataset_id)
        with transaction(self.sessions) as session:
            columns, source = session.execute(wanted).one()
        try:
            uploads = stored.fetch(self.storage, dataset_id, source, folder)
        except FileNotFoundError as error:
            raise UploadGone(dataset_id) from error
        out = folder / "out"
        out.mkdir()
        with self._followed(dataset_id, out):
            verdict = self.validate(
                uploads, out, self.settings, declared_format=declared, columns=columns
            )
        for name in ("rows.jsonl", "problems.jsonl", "report.json"):
            if (out / name).is_file():
                self.storage.write_file(f"datasets/{dataset_id}/{name}", out / name)
        return verdict

    def _write(self, dataset_id: str, verdict: Verdict) -> None:
        self._finish(
            dataset_id,
            status="ready" if verdict.is_ready else "invalid",
            format=verdict.format,
            row_format=verdict.row_format,
            num_rows=verdict.num_rows,
            num_valid_rows=verdict.num_valid_rows,
            features=dict(verdict.features),
        )
        _log.info("dataset_judged", is_ready=verdict.is_ready, num_rows=verdict.num_rows)

    def _give_up(self, dataset_id: str) -> None:
        self._finish(dataset_id, status="invalid", num_rows=0, num_valid_rows=0)

    def _finish(self, dataset_id: str, **values: Any) -> None:
        mine = (Dataset.id == dataset_id, Dataset.status == "validating")
        ended = {"validated_at": NOW, "lease_until": None, "progress": None}
        done = update(Dataset).where(*mine).values(**ended, **values)
        is_deleted = select(Dataset.id).where(
            Dataset.id == dataset_id, Dataset.deleted_at.is_not(None)
        )
        with transaction(self.sessions) as session:
            session.execute(done)
            is_unwanted = session.scalar(is_deleted) is not None
        self._num_failures.pop(dataset_id, None)
        if is_unwanted:
            # What we stored came after the deletion, or may have.
            self.storage.delete_all(f"datasets/{dataset_id}/")

    def _settle(self) -> int:
        """Admit or reject every job whose datasets have been judged; returns how many."""
        # Who waits for either dataset is left out, or a hundred of them would hide the others.
        named = (Job.dataset_id, Job.spec["validation"]["dataset"].astext)
        unjudged = exists().where(or_(*(Dataset.id == each for each in named)))
        waiting = (
            select(Job)
            .where(Job.status == JobStatus.VALIDATING)
            .where(~unjudged.where(Dataset.status == "validating"))
            .order_by(Job.id)
            .limit(100)
        )
        with transaction(self.sessions) as session:
            return sum(self._settle_job(session, job) for job in session.scalars(waiting).all())

    def _settle_job(self, session: Session, job: Job) -> bool:
        named = [job.dataset_id, (job.spec.get("validation") or {}).get("dataset")]
        verdicts = [_usable(session, each, job.spec) for each in named if each]
        if False in verdicts:
            moved = lifecycle.reject(session, job.id, FAILURE)
        elif None in verdicts:
            return False
        else:
            moved = lifecycle.admit(session, job.id)
            after_commit(session, lambda: self.queue.wake(job.queue))
        after_commit(session, lambda: self.bell.ring(job.id))
        return moved

    @contextmanager
    def _held(self, dataset_id: str) -> Iterator[None]:
        """The claim is renewed from a thread of its own while the block runs."""

        def renew() -> None:
            with transaction(self.sessions) as session:
                self._hold(session, dataset_id)

        with _repeated(renew, self.settings.renew_seconds):
            yield

    @contextmanager
    def _followed(self, dataset_id: str, out: Path) -> Iterator[None]:
        """While the block runs, how far the check is stands in the dataset's row."""
        row = update(Dataset).where(Dataset.id == dataset_id, Dataset.status == "validating")
        last: list[Any] = [None]

        def tell() -> None:
            told = progress.read(out / "progress.json")
            if told != last[0]:
                with transaction(self.sessions) as session:
                    session.execute(row.values(progress=told))
                last[0] = told

        with _repeated(tell, _PROGRESS_SECONDS):
            yield


@contextmanager
def _repeated(action: Callable[[], None], seconds: float) -> Iterator[None]:
    """From a thread of its own while the block runs; a database that is away is asked again."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            try:
                action()
            except OperationalError:
                _log.warning("intake_not_written", action=action.__name__)

    thread = threading.Thread(target=repeat, name="intake-keeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


FAILURE = {
    "class": "user",
    "code": "dataset_invalid",
    "message": "The dataset has rows that cannot be trained on.",
    "evidence": "",
    "hint": 'Read the dataset\'s report; repair the rows, or set `on_invalid_row` to "skip".',
    "retryable": False,
    "suggested_patch": None,
}


def _usable(session: Session, dataset_id: str, spec: dict[str, Any]) -> bool | None:
    """Whether a job may train on a dataset; None while it is not yet known."""
    row = session.execute(
        select(Dataset.status, Dataset.num_valid_rows).where(Dataset.id == dataset_id)
    ).one_or_none()
    if row is None:
        return False
    if row.status == "validating":
        return None
    is_enough = spec.get("on_invalid_row") == "skip" and (row.num_valid_rows or 0) > 0
    return bool(row.status == "ready" or is_enough)


@contextmanager
def _temporary(settings: Settings) -> Iterator[Path]:
    parent = settings.data_dir.absolute() / "intake"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
