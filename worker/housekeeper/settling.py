"""Decides what happens to jobs that wait for the validation of their datasets.

The store is read between two transactions, never inside one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from app.core.datasets import bad_rows, skipping
from app.core.datasets.skipping import Skipped
from app.core.datasets.status import DatasetStatus
from app.core.db.models import Dataset, Job
from app.core.events.log import Entry
from app.core.jobs.failures import FailureReport, user_failure
from app.core.jobs.spec import JobSpec
from app.core.jobs.status import JobStatus
from app.core.storage import Storage

_AT_A_TIME = 100
_SHOWN = 5
_USUAL = JobSpec.model_fields["max_skip_share"].default


@dataclass(frozen=True)
class Waiting:
    job: Job
    datasets: Sequence[Dataset | None]
    """The datasets the job names, validated; None for one that does not exist."""

    @property
    def skips(self) -> bool:
        return self.job.spec.get("on_invalid_row") == "skip"


def waiting(session: Session) -> list[Waiting]:
    """The oldest jobs whose datasets have all been validated."""
    # Jobs that still wait for either dataset are excluded: a hundred of them would hide the rest.
    named = (Job.dataset_id, Job.spec["validation"]["dataset"].astext)
    named_dataset = exists().where(or_(*(Dataset.id == each for each in named)))
    query = (
        select(Job)
        .where(Job.status == JobStatus.VALIDATING)
        .where(~named_dataset.where(Dataset.status == DatasetStatus.VALIDATING))
        .order_by(Job.id)
        .limit(_AT_A_TIME)
    )
    jobs = session.scalars(query).all()
    return [Waiting(job, [session.get(Dataset, each) for each in _named(job)]) for job in jobs]


def failure(waiting: Waiting, storage: Storage) -> FailureReport | None:
    """Why the job cannot run, for the first dataset that prevents it; None if it can."""
    return next(filter(None, (_failure(waiting, each, storage) for each in waiting.datasets)), None)


def skipped_rows(waiting: Waiting, storage: Storage) -> list[Entry]:
    """One event for each dataset whose invalid rows are skipped."""
    invalid = [each for each in waiting.datasets if each and each.status != DatasetStatus.READY]
    return [Skipped.of(each).entry(bad_rows.errors(storage, each.id)) for each in invalid]


def _named(job: Job) -> list[str]:
    held_out = (job.spec.get("validation") or {}).get("dataset")
    return [job.dataset_id, *([held_out] if held_out else [])]


def _failure(waiting: Waiting, dataset: Dataset | None, storage: Storage) -> FailureReport | None:
    if dataset is None:
        return user_failure(
            "dataset_invalid", "The dataset no longer exists.", hint="Choose another dataset."
        )
    if dataset.status == DatasetStatus.READY:
        return None
    evidence = _evidence(dataset.id, storage)
    if not waiting.skips or not dataset.num_valid_rows:
        message = f"Dataset {dataset.id!r} has rows that cannot be trained on."
        hint = f"See GET /datasets/{dataset.id}/report; fix the rows"
        hint += ', or set `on_invalid_row` to "skip".' if dataset.num_valid_rows else "."
        return user_failure("dataset_invalid", message, hint=hint, evidence=evidence)
    message = Skipped.of(dataset).objection(waiting.job.spec.get("max_skip_share", _USUAL)) or ""
    if not message:
        return None
    return user_failure(skipping.CODE, message, hint=skipping.HINT, evidence=evidence)


def _evidence(dataset_id: str, storage: Storage) -> str:
    return "; ".join(map(bad_rows.sentence, bad_rows.errors(storage, dataset_id)[:_SHOWN]))
