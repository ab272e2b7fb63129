"""Deletes files without an owner: of deleted jobs and datasets, superseded epochs and runs that
ended long ago.
"""

import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import structlog
from sqlalchemy import delete, select, update

from app.core import store_keys
from app.core.db.models import NOW, Checkpoint, Dataset, Job, PartialUpload
from app.core.db.session import Sessions, transaction
from app.core.jobs.status import JobStatus
from app.core.settings import Settings
from app.core.storage import Storage

_log = structlog.get_logger(__name__)
KEEP_SECONDS = 3600.0
"""Younger files are left alone: their writer may not have updated the database yet."""
CACHE_SECONDS = 7 * 86400.0
"""Age at which rows cached for runs, and not used since, are deleted."""
COUNTS_SECONDS = 30 * 86400.0
"""Age at which stored counts of a dataset's rows are deleted; they are recomputed on demand."""
UPLOAD_SECONDS = 86400.0
"""Age at which bytes of a dataset without a row are deleted: its upload may still be running."""
_BATCH = 500


@dataclass(frozen=True)
class _Owner:
    status: JobStatus
    epoch: int
    prefix: str | None
    is_long_over: bool


@dataclass(frozen=True)
class Garbage:
    settings: Settings
    sessions: Sessions
    storage: Storage
    keep_seconds: float = KEEP_SECONDS
    counts_seconds: float = COUNTS_SECONDS

    def collect(self) -> int:
        """Delete what has no owner; return how many folders, prefixes and files that was."""
        in_store = self._prefixes() + self._logs() + self._datasets() + self._parts()
        return self._runs() + in_store + self._counts() + self._left_overs()

    def _runs(self) -> int:
        found = [path for path in self.settings.runs_dir.glob("*/*") if path.is_dir()]
        old = [path for path in found if _age(path) > self.keep_seconds]
        owners = self._owners({path.parent.name for path in old})
        doomed = [path for path in old if _is_spent(path, owners.get(path.parent.name))]
        for path in doomed:
            _log.info("run_deleted", run_dir=str(path))
            shutil.rmtree(path, ignore_errors=True)
            self._mark_gone(path)
        for job_dir in {path.parent for path in doomed}:
            if not any(job_dir.iterdir()):
                job_dir.rmdir()
        return len(doomed)

    def _mark_gone(self, run_dir: Path) -> None:
        held = (Checkpoint.job_id == run_dir.parent.name, Checkpoint.run_epoch == int(run_dir.name))
        with transaction(self.sessions) as session:
            session.execute(update(Checkpoint).where(*held).values(kept=False))

    def _prefixes(self) -> int:
        """Delete artifacts that no job's row points to.

        Listed before the rows are read, so that one published in between is not deleted.
        """
        prefixes = set(map(store_keys.artifact_of, self.storage.keys(store_keys.ARTIFACTS)))
        owners = self._owners(set(map(store_keys.owner, prefixes)))
        doomed = [each for each in sorted(prefixes) if _is_orphan(each, owners)]
        for prefix in doomed:
            _log.info("artifact_deleted", prefix=prefix)
            self.storage.delete_all(prefix)
        return len(doomed)

    def _logs(self) -> int:
        jobs = self._ids(store_keys.LOGS)
        gone = jobs - self._owners(jobs).keys()
        for job_id in gone:
            self.storage.delete_all(store_keys.logs(job_id))
        return len(gone)

    def _datasets(self) -> int:
        """Delete the bytes of deleted datasets, and of uploads that never got a row."""
        found = self._ids(store_keys.DATASETS)
        is_deleted = self._deleted(found)
        doomed = [
            each for each in sorted(found) if is_deleted.get(each, _id_age(each) > UPLOAD_SECONDS)
        ]
        for dataset_id in doomed:
            _log.info("dataset_deleted", dataset_id=dataset_id)
            self.storage.delete_all(store_keys.dataset(dataset_id))
        return len(doomed)

    def _deleted(self, dataset_ids: Iterable[str]) -> dict[str, bool]:
        """Whether each dataset was deleted, for those that have a row."""
        ids = sorted(dataset_ids)
        known: dict[str, bool] = {}
        for start in range(0, len(ids), _BATCH):
            rows = select(Dataset.id, Dataset.deleted_at.is_not(None)).where(
                Dataset.id.in_(ids[start : start + _BATCH])
            )
            with transaction(self.sessions) as session:
                known |= dict(session.execute(rows).all())
        return known

    def _parts(self) -> int:
        """Delete parts of uploads that were completed, deleted or not completed in time; the last
        lose their rows too.

        Listed before the rows are read: a row exists before its first part.
        """
        found = self._ids(store_keys.UPLOADS)
        with transaction(self.sessions) as session:
            late = PartialUpload.created_at < NOW - PartialUpload.KEPT_FOR
            session.execute(delete(PartialUpload).where(late))
            is_open = PartialUpload.dataset_id.is_(None)
            doomed = found - set(session.scalars(select(PartialUpload.id).where(is_open)))
        for upload_id in doomed:
            _log.info("upload_deleted", upload_id=upload_id)
            self.storage.delete_all(store_keys.upload(upload_id))
        return len(doomed)

    def _counts(self) -> int:
        roots = (store_keys.MEASURES, store_keys.LAYOUTS)
        old = [key for root in roots for key in self.storage.old_keys(root, self.counts_seconds)]
        self.storage.delete(old)
        return len(old)

    def _left_overs(self) -> int:
        """Delete unused cached rows, and what killed intakes and writers left behind."""
        data_dir = self.settings.data_dir.absolute()
        cached = [path for path in data_dir.glob("cache/datasets/*") if _age(path) > CACHE_SECONDS]
        for path in cached:
            path.unlink(missing_ok=True)
        killed = [path for path in data_dir.glob("intake/*") if _age(path) > 24 * 3600]
        for path in killed:
            shutil.rmtree(path, ignore_errors=True)
        return len(cached) + len(killed) + self.storage.drop_unfinished(UPLOAD_SECONDS)

    def _ids(self, root: str) -> set[str]:
        """Ids of the jobs, datasets or uploads that own the objects under a root."""
        return set(map(store_keys.owner, self.storage.keys(root)))

    def _owners(self, job_ids: Iterable[str]) -> dict[str, _Owner]:
        ids = sorted(job_ids)
        over = Job.finished_at < NOW - timedelta(seconds=self.keep_seconds)
        owners: dict[str, _Owner] = {}
        for start in range(0, len(ids), _BATCH):
            rows = select(Job.id, Job.status, Job.epoch, Job.artifact, over.label("is_over")).where(
                Job.id.in_(ids[start : start + _BATCH])
            )
            with transaction(self.sessions) as session:
                for row in session.execute(rows):
                    prefix = (row.artifact or {}).get("prefix")
                    status = JobStatus(row.status)
                    owners[row.id] = _Owner(status, row.epoch, prefix, bool(row.is_over))
        return owners


def _is_spent(run_dir: Path, owner: _Owner | None) -> bool:
    """Whether nothing will resume from it. Failed jobs keep checkpoints: a user may resume them."""
    if owner is None:
        return True
    if not owner.is_long_over:
        return False
    has_checkpoint = any(run_dir.glob("checkpoints/checkpoint-*"))
    return owner.status is not JobStatus.FAILED or not has_checkpoint


def _is_orphan(prefix: str, owners: Mapping[str, _Owner]) -> bool:
    owner = owners.get(store_keys.owner(prefix))
    if owner is None:
        return True
    is_being_made = owner.status is JobStatus.RUNNING and prefix.endswith(f"/{owner.epoch}/")
    return owner.prefix != prefix and not is_being_made


def _id_age(name: str) -> float:
    """Seconds since an id was created: a UUIDv7 begins with a timestamp. 0 for other names."""
    try:
        return time.time() - UUID(name.partition("_")[2]).int / (1 << 80) / 1000
    except ValueError:
        return 0.0


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
