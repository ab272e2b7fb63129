"""Takes datasets in: claims one, has it validated in a child process, stores what came out, and
lets the jobs that waited for it go on.

What is written does not depend on who does it.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from obstore.exceptions import BaseError as StoreError
from sqlalchemy import update

from app.core import store_keys
from app.core.datasets import content
from app.core.datasets.checking import progress
from app.core.datasets.status import DatasetStatus
from app.core.datasets.validate import Verdict, validate_in_child
from app.core.db.models import NOW, Dataset
from app.core.db.session import OUTAGE, Sessions, after_commit, transaction
from app.core.events import log
from app.core.events.notifier import Notifier
from app.core.jobs import lifecycle
from app.core.queue import Queue
from app.core.settings import Settings
from app.core.storage import Storage
from worker.housekeeper import settling
from worker.housekeeper.dataset_claims import Claims
from worker.housekeeper.repeated import repeated
from worker.housekeeper.settling import Waiting

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
    notifier: Notifier
    validate: Validate = validate_in_child
    _num_failures: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._claims = Claims(self.settings, self.sessions)

    def take_one(self) -> bool:
        """Judge the next upload, if any; then settle the jobs that wait. False when idle."""
        # Those without a hash are fetched first, by `worker.housekeeper.hub_imports`.
        claimed = self._claims.take(Dataset.sha256.is_not(None))
        if claimed is not None:
            with structlog.contextvars.bound_contextvars(dataset_id=claimed.id):
                self._judge(claimed)
        return self._settle() > 0 or claimed is not None

    def _judge(self, dataset: Dataset) -> None:
        dataset_id = dataset.id
        try:
            with self._claims.held(dataset_id), temporary(self.settings) as folder:
                verdict = self._validate(dataset, folder)
            self._write(dataset_id, verdict)
        except UploadGone:
            _log.warning("upload_gone")
            self._give_up(dataset_id, "The file is no longer in the store.")
        except OUTAGE:
            raise
        except (StoreError, OSError) as error:
            # The store's or the disk's fault and not the upload's: not counted, and tried again
            # when the claim has lapsed.
            _log.warning("storage_unavailable", error=type(error).__name__)
        except Exception:
            _log.exception("intake_failed")
            failures = self._num_failures[dataset_id] = self._num_failures.get(dataset_id, 0) + 1
            if failures >= MAX_FAILURES:
                self._give_up(dataset_id, "The check of the file broke off again and again.")

    def _validate(self, dataset: Dataset, folder: Path) -> Verdict:
        try:
            uploads = content.fetch(self.storage, dataset.id, dataset.source, folder)
        except FileNotFoundError as error:
            raise UploadGone(dataset.id) from error
        out = folder / "out"
        out.mkdir()
        with self._followed(dataset.id, out):
            verdict = self.validate(
                uploads,
                out,
                self.settings,
                declared_format=dataset.format,
                columns=dataset.columns,
            )
        for name in (store_keys.ROWS, store_keys.PROBLEMS, store_keys.REPORT):
            if (out / name).is_file():
                self.storage.write_file(store_keys.dataset(dataset.id, name), out / name)
        return verdict

    def _write(self, dataset_id: str, verdict: Verdict) -> None:
        self._finish(
            dataset_id,
            status=DatasetStatus.READY if verdict.is_ready else DatasetStatus.INVALID,
            format=verdict.format,
            row_format=verdict.row_format,
            num_rows=verdict.num_rows,
            num_valid_rows=verdict.num_valid_rows,
            features=dict(verdict.features),
        )
        _log.info("dataset_judged", is_ready=verdict.is_ready, num_rows=verdict.num_rows)

    def _give_up(self, dataset_id: str, message: str) -> None:
        content.store_broken_off(self.storage, dataset_id, "validator_crashed", message)
        self._finish(dataset_id, status=DatasetStatus.INVALID, num_rows=0, num_valid_rows=0)

    def _finish(self, dataset_id: str, **values: Any) -> None:
        is_wanted = self._claims.release(dataset_id, validated_at=NOW, **values)
        self._num_failures.pop(dataset_id, None)
        if not is_wanted:
            self.storage.delete_all(store_keys.dataset(dataset_id))

    def _settle(self) -> int:
        """Admit or reject every job whose datasets have been judged; returns how many."""
        with transaction(self.sessions) as session:
            waiting = settling.waiting(session)
        return sum(self._settle_job(each) for each in waiting)

    def _settle_job(self, waiting: Waiting) -> bool:
        job = waiting.job
        try:
            failure = settling.failure(waiting, self.storage)
            told = [] if failure else settling.skipped_rows(waiting, self.storage)
        except (StoreError, OSError) as error:
            _log.warning("storage_unavailable", error=type(error).__name__, job_id=job.id)
            return False
        with transaction(self.sessions) as session:
            if failure:
                moved = lifecycle.reject(session, job.id, failure.as_json())
            elif moved := lifecycle.admit(session, job.id):
                log.append(session, job.id, *told)
                after_commit(session, lambda: self.queue.wake(job.queue))
            after_commit(session, lambda: self.notifier.notify_followers(job.id))
        return moved

    @contextmanager
    def _followed(self, dataset_id: str, out: Path) -> Iterator[None]:
        """While the block runs, how far the check is stands in the dataset's row."""
        unjudged = (Dataset.id == dataset_id, Dataset.status == DatasetStatus.VALIDATING)
        row = update(Dataset).where(*unjudged)
        last: list[Any] = [None]

        def tell_progress() -> None:
            told = progress.read(out / "progress.json")
            if told != last[0]:
                with transaction(self.sessions) as session:
                    session.execute(row.values(progress=told))
                last[0] = told

        with repeated(tell_progress, _PROGRESS_SECONDS):
            yield


@contextmanager
def temporary(settings: Settings) -> Iterator[Path]:
    parent = settings.data_dir.absolute() / "intake"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
