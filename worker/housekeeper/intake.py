"""Takes datasets in: claims one, validates it in a sandboxed child, stores the result, and admits
or rejects the jobs that waited for it.

The result does not depend on which process does the work.
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
"""Failures of our own, in one process, after which a dataset is declared invalid."""
_PROGRESS_SECONDS = 1.0

Validate = Callable[..., Verdict]


class UploadGone(Exception):
    """The upload was deleted meanwhile, or was never complete."""


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
        """Validate the next upload, if any; then settle waiting jobs. False when idle."""
        # A dataset without a hash is fetched first, by `worker.housekeeper.hub_imports`.
        claimed = self._claims.take(Dataset.sha256.is_not(None))
        if claimed is not None:
            with structlog.contextvars.bound_contextvars(dataset_id=claimed.id):
                self._process(claimed)
        return self._settle() > 0 or claimed is not None

    def _process(self, dataset: Dataset) -> None:
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
            # The store or the disk is at fault, not the upload: not counted, and retried when the
            # claim has expired.
            _log.warning("storage_unavailable", error=type(error).__name__)
        except Exception:
            _log.exception("intake_failed")
            failures = self._num_failures[dataset_id] = self._num_failures.get(dataset_id, 0) + 1
            if failures >= MAX_FAILURES:
                self._give_up(dataset_id, "Validation of the file crashed repeatedly.")

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
        still_exists = self._claims.release(dataset_id, validated_at=NOW, **values)
        self._num_failures.pop(dataset_id, None)
        if not still_exists:
            self.storage.delete_all(store_keys.dataset(dataset_id))

    def _settle(self) -> int:
        """Admit or reject each job whose datasets have been validated; return how many moved."""
        with transaction(self.sessions) as session:
            waiting = settling.waiting(session)
        return sum(self._settle_job(each) for each in waiting)

    def _settle_job(self, waiting: Waiting) -> bool:
        job = waiting.job
        try:
            failure = settling.failure(waiting, self.storage)
            skipped = [] if failure else settling.skipped_rows(waiting, self.storage)
        except (StoreError, OSError) as error:
            _log.warning("storage_unavailable", error=type(error).__name__, job_id=job.id)
            return False
        with transaction(self.sessions) as session:
            if failure:
                moved = lifecycle.reject(session, job.id, failure.as_json())
            elif moved := lifecycle.admit(session, job.id):
                log.append(session, job.id, *skipped)
                after_commit(session, lambda: self.queue.wake(job.queue))
            after_commit(session, lambda: self.notifier.notify_followers(job.id))
        return moved

    @contextmanager
    def _followed(self, dataset_id: str, out: Path) -> Iterator[None]:
        """Copy the progress of the validation into the dataset's row while the block runs."""
        unfinished = (Dataset.id == dataset_id, Dataset.status == DatasetStatus.VALIDATING)
        row = update(Dataset).where(*unfinished)
        last: list[Any] = [None]

        def write_progress() -> None:
            latest = progress.read(out / "progress.json")
            if latest != last[0]:
                with transaction(self.sessions) as session:
                    session.execute(row.values(progress=latest))
                last[0] = latest

        with repeated(write_progress, _PROGRESS_SECONDS):
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
