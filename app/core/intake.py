"""Takes datasets in: claims one, has it validated in a child process, stores what came out, and
lets the jobs that waited for it go on.

What is written does not depend on who does it.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from obstore.exceptions import BaseError as StoreError
from sqlalchemy import exists, or_, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.core.claims import Claims
from app.core.datasets.content import content_keys
from app.core.datasets.hub_files import kind
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

    def __post_init__(self) -> None:
        self._claims = Claims(self.settings, self.sessions)

    def take_one(self) -> bool:
        """Judge the next upload, if any; then settle the jobs that wait. False when idle."""
        # Those without a hash are fetched first, by `app.core.imports`.
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

    def _validate(self, dataset: Dataset, folder: Path) -> Verdict:
        files, out = self._read(dataset, folder), folder / "out"
        out.mkdir()
        verdict = self.validate(
            _as_one(files, dataset.source),
            out,
            self.settings,
            declared_format=dataset.format,
            columns=dataset.columns,
        )
        for name in ("rows.jsonl", "report.json"):
            if (out / name).is_file():
                self.storage.write_file(f"datasets/{dataset.id}/{name}", out / name)
        return verdict

    def _read(self, dataset: Dataset, folder: Path) -> list[Path]:
        """The files of a dataset, in order: one, where it was uploaded. Raises UploadGone."""
        found = []
        for at, key in enumerate(content_keys(dataset.id, dataset.source)):
            found.append(folder / f"upload-{at}")
            try:
                self.storage.read_file(key, found[-1])
            except FileNotFoundError as error:
                raise UploadGone(dataset.id) from error
        return found

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
        is_wanted = self._claims.release(dataset_id, validated_at=NOW, **values)
        self._num_failures.pop(dataset_id, None)
        if not is_wanted:
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


FAILURE = {
    "class": "user",
    "code": "dataset_invalid",
    "message": "The dataset has rows that cannot be trained on.",
    "evidence": "",
    "hint": 'Read the dataset\'s report; repair the rows, or set `on_invalid_row` to "skip".',
    "retryable": False,
    "suggested_patch": None,
}


def _as_one(files: Sequence[Path], source: dict[str, Any] | None) -> Path:
    """Until the check takes several files: JSON Lines can be put behind one another."""
    if len(files) == 1 or source is None:
        return files[0]
    if kind(source["files"][0]["path"]) not in ("jsonl", "ndjson"):
        raise NotImplementedError("several files that are not JSON Lines")
    whole = files[0].with_name("upload")
    with whole.open("wb") as out:
        for path in files:
            with path.open("rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)
            out.write(b"\n")
    return whole


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
def temporary(settings: Settings) -> Iterator[Path]:
    parent = settings.data_dir.absolute() / "intake"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
