"""Prepares a run directory: fetches the rows and the base model, writes the plan."""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import select

from app.core import models, store_keys
from app.core.db.models import Dataset, Job, Json
from app.core.db.session import Sessions, transaction
from app.core.jobs.protocol import Base, Plan, RowsFile
from app.core.jobs.spec import JobSpec
from app.core.settings import Settings
from app.core.storage import Storage
from app.core.templates import registry
from worker.devices import device_of
from worker.supervisor import resume
from worker.supervisor.patience import patiently

_log = structlog.get_logger(__name__)


class DatasetGone(Exception):
    """The dataset, or the file with its rows, no longer exists."""


@dataclass(frozen=True)
class RunDirectories:
    settings: Settings
    sessions: Sessions
    storage: Storage

    def path(self, job: Job) -> Path:
        return self.settings.runs_dir / job.id / str(job.epoch)

    def prepare(self, job: Job) -> Path:
        """Create a fresh directory for this epoch with everything the trainer needs.

        May take long: rows and models are fetched. Raises DatasetGone, a coded Failure of the
        model or the template, or the store's error.
        """
        # From JSON text: only there does a strict model accept JSON's types.
        spec = JobSpec.model_validate_json(json.dumps(job.spec))
        run_dir = self.path(job)
        shutil.rmtree(run_dir, ignore_errors=True)
        run_dir.mkdir(parents=True, mode=0o700)
        validation = spec.validation and spec.validation.dataset
        plan = Plan(
            job_id=job.id,
            attempt=job.attempt,
            epoch=job.epoch,
            spec=spec,
            base=self._base(spec),
            template=registry.find(self.settings.templates_dir, spec.template).frozen(),
            rows=self._rows(job.dataset_id),
            validation_rows=self._rows(validation) if validation else None,
            device=device_of(self.settings.device),
            resume_from=[str(path) for path in resume.folders(run_dir.parent, job.epoch)],
            stall_seconds=self.settings.stall_seconds,
        )
        _write_privately(run_dir / "plan.json", plan.model_dump_json(indent=1))
        return run_dir

    def _base(self, spec: JobSpec) -> Base:
        info = models.find_model(self.settings, spec.model, spec.model_revision)
        path = models.fetch_model(self.settings, spec.model, spec.model_revision)
        return Base(
            path=str(path.absolute()),
            id=info.id,
            revision=info.revision,
            hub_id=info.hub_id,
            hub_revision=info.hub_revision,
        )

    def _rows(self, dataset_id: str) -> RowsFile:
        columns = (Dataset.sha256, Dataset.num_rows, Dataset.num_valid_rows, Dataset.source)
        query = select(*columns).where(Dataset.id == dataset_id)

        def read() -> tuple[str | None, int | None, int | None, Json | None] | None:
            with transaction(self.sessions) as session:
                return session.execute(query).one_or_none()

        row = patiently(read, seconds=self.settings.outage_seconds)
        if row is None:
            raise DatasetGone(dataset_id)
        sha256, total, valid, source = row
        path = self._fetched(dataset_id)
        return RowsFile(
            path=str(path),
            dataset=dataset_id,
            sha256=sha256 or "",  # a dataset with rows has a hash
            num_rows=valid or 0,
            num_invalid=(total or 0) - (valid or 0),
            license=(source or {}).get("license"),
        )

    def _fetched(self, dataset_id: str) -> Path:
        """Return the local copy of the rows. It serves every run here: datasets never change."""
        path = self.settings.data_dir.absolute() / "cache" / "datasets" / f"{dataset_id}.jsonl"
        key = store_keys.rows(dataset_id)
        try:
            if path.is_file() and path.stat().st_size == self.storage.size(key):
                os.utime(path)
                return path
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fetch(key, path)
        except FileNotFoundError as error:
            raise DatasetGone(dataset_id) from error
        return path

    def _fetch(self, key: str, path: Path) -> None:
        # A unique name: workers in two containers that share a disk may have the same pid.
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        os.close(descriptor)
        partial = Path(name)
        try:
            self.storage.read_file(key, partial)
            if partial.stat().st_size != self.storage.size(key):
                raise OSError(f"{key} was only partly downloaded.")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def publish_only(run_dir: Path) -> None:
    """Have the next trainer in this directory publish its newest checkpoint's adapter."""
    plan = Plan.model_validate_json((run_dir / "plan.json").read_bytes())
    (run_dir / "stop").unlink(missing_ok=True)
    changed = plan.model_copy(update={"publish_only": True})
    _write_privately(run_dir / "plan.json", changed.model_dump_json(indent=1))


def _write_privately(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)
