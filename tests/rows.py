"""Database rows for tests of the core and the worker, created as the API creates them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.core.db.models import Dataset, Job
from app.core.events import log
from app.core.events.log import Entry
from app.core.ids import new_id
from app.core.jobs.recipes import resolve
from app.core.jobs.spec import SPEC_VERSION, JobSpec
from app.core.jobs.status import JobStatus
from app.core.settings import DEFAULT_PROJECT
from app.core.storage import Storage

ROWS = b'{"instruction": "Say hello.", "output": "Hello."}\n' * 4


def make_dataset(session: Session, *, status: str = "ready", **values: Any) -> Dataset:
    dataset = Dataset(
        id=new_id("ds"),
        project_id=DEFAULT_PROJECT,
        owner_id="key_test",
        name="greetings.jsonl",
        status=status,
        format="alpaca",
        num_bytes=len(ROWS),
        sha256="0" * 64,
        num_rows=4,
        num_valid_rows=4,
        **values,
    )
    session.add(dataset)
    session.flush()
    return dataset


def store_rows(storage: Storage, dataset_id: str) -> None:
    storage.write(f"datasets/{dataset_id}/rows.jsonl", [ROWS])


def make_job(
    session: Session,
    *,
    dataset: Dataset | None = None,
    status: JobStatus = JobStatus.QUEUED,
    spec: Mapping[str, Any] | None = None,
    **values: Any,
) -> Job:
    """A job put directly into a state, without lifecycle functions, and the event of that state."""
    dataset = dataset or make_dataset(session)
    body = {"model": "tiny", "dataset": dataset.id, **(spec or {})}
    resolved = resolve(JobSpec.model_validate(body))
    job = Job(
        id=new_id("job"),
        project_id=DEFAULT_PROJECT,
        owner_id="key_test",
        dataset_id=dataset.id,
        model=resolved.model,
        priority=resolved.priority,
        spec_version=SPEC_VERSION,
        spec=resolved.model_dump(mode="json"),
        queue="default",
        status=status,
        **values,
    )
    session.add(job)
    session.flush()
    log.append(session, job.id, Entry("status", status, data={"status": status}))
    return job
