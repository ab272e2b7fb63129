"""What a caller can do with jobs."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.core import store_keys
from app.core.datasets import bad_rows
from app.core.db.models import Job
from app.core.db.session import after_commit
from app.core.errors import Conflict, NotFound
from app.core.events import log
from app.core.events.log import Entry
from app.core.ids import new_id
from app.core.jobs import lifecycle
from app.core.jobs.spec import SPEC_VERSION, JobSpec
from app.core.jobs.status import JobStatus
from app.core.queue import Queue
from app.core.settings import Settings
from app.core.storage import Storage
from app.services import checks, refusals
from app.services.caller import Caller
from app.services.counting.layouts import Layouts
from app.services.pages import Cursor, Page, newest_first

WAITING = frozenset({JobStatus.VALIDATING, JobStatus.QUEUED, JobStatus.PAUSED})
Notify = Callable[[str], None]
_log = structlog.get_logger(__name__)


class JobNotFound(NotFound):
    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"No fine-tuning job with id {job_id!r}.")


class JobNotFinal(Conflict):
    code = "job_not_final"


class JobStarted(Conflict):
    code = "job_already_started"


@dataclass(frozen=True)
class Filter:
    statuses: Sequence[str] = ()
    model: str | None = None
    dataset: str | None = None
    tags: Sequence[str] = ()
    """Each `key` or `key:value`; a job must have them all."""
    q: str | None = None
    """Part of a name or an id, in any case."""
    created_after: datetime | None = None


def submit(
    session: Session,
    caller: Caller,
    spec: JobSpec,
    *,
    settings: Settings,
    storage: Storage,
    queue: Queue,
    layouts: Layouts,
) -> Job:
    """Record a job and, if its data is ready, queue it. Raises refusals.WouldFail for what is known
    to make it fail at its start.

    The message is sent after the commit: a worker must never receive the id of a row it cannot
    see yet.
    """
    checked = checks.check(session, caller, spec, settings=settings, storage=storage)
    refusals.check(checked, settings=settings, layouts=layouts)
    job = _record(session, caller, checked.spec, settings.queue)
    if checked.is_data_ready:
        lifecycle.admit(session, job.id)
        for each in checked.skipped:
            log.append(session, job.id, each.entry(bad_rows.errors(storage, each.dataset_id)))
        after_commit(session, lambda: queue.wake(job.queue))
    session.refresh(job)
    return job


def get(session: Session, caller: Caller, job_id: str, *, is_locked: bool = False) -> Job:
    query = select(Job).where(Job.id == job_id, Job.project_id == caller.project_id)
    job = session.scalar(query.with_for_update() if is_locked else query)
    if job is None:
        raise JobNotFound(job_id)
    return job


def page(session: Session, caller: Caller, cursor: Cursor, filters: Filter) -> Page[Job]:
    query = select(Job)
    if filters.statuses:
        query = query.where(Job.status.in_(filters.statuses))
    if filters.model:
        query = query.where(Job.model == filters.model)
    if filters.dataset:
        query = query.where(Job.dataset_id == filters.dataset)
    if filters.created_after:
        query = query.where(Job.created_at > filters.created_after)
    if filters.q:
        name, job_id = (
            column.icontains(filters.q, autoescape=True) for column in (Job.name, Job.id)
        )
        query = query.where(or_(name, job_id))
    for tag in filters.tags:
        key, colon, value = tag.partition(":")
        has = Job.tags.contains({key: value}) if colon else Job.tags.has_key(key)
        query = query.where(has)
    return newest_first(session, Job, query, caller, cursor)


def patch(
    session: Session, caller: Caller, job_id: str, changes: dict[str, Any], notify: Notify
) -> Job:
    """Change a job's name, tags, notes or priority; the priority only while it waits."""
    job = get(session, caller, job_id, is_locked=True)
    priority = changes.get("priority", job.priority)
    if priority != job.priority:
        if job.status not in WAITING:
            raise JobStarted(
                f"Job {job_id!r} is {job.status}; its priority no longer matters.",
                current=job.status,
                allowed=["patch name, tags, notes"],
            )
        entry = Entry("queue", f"priority {priority}", data={"priority": priority})
        log.append(session, job_id, entry)
        after_commit(session, lambda: notify(job_id))
    for name, value in changes.items():
        setattr(job, name, value)
    session.flush()
    return job


def cancel(session: Session, caller: Caller, job_id: str, notify: Notify) -> Job:
    """Request cancellation; a running job continues until its worker learns of it."""
    get(session, caller, job_id, is_locked=True)
    lifecycle.cancel(session, job_id)
    after_commit(session, lambda: notify(job_id))
    return session.get_one(Job, job_id, populate_existing=True)


def delete(
    session: Session,
    caller: Caller,
    job_id: str,
    *,
    storage: Storage,
    settings: Settings,
    notify: Notify,
) -> None:
    """Delete a final job: its row, its events and, after the commit, its files."""
    job = get(session, caller, job_id, is_locked=True)
    if not lifecycle.is_final(job.status):
        raise JobNotFinal(
            f"Job {job_id!r} is {job.status}; cancel it and wait until it ends.",
            current=job.status,
            allowed=["cancel"],
        )
    session.delete(job)
    session.flush()
    after_commit(session, lambda: _purge(storage, settings, job_id))
    after_commit(session, lambda: notify(job_id))


def _record(session: Session, caller: Caller, spec: JobSpec, queue: str) -> Job:
    job = Job(
        id=new_id("job"),
        project_id=caller.project_id,
        owner_id=caller.owner_id,
        dataset_id=spec.dataset,
        model=spec.model,
        name=spec.name,
        tags=spec.tags,
        priority=spec.priority,
        spec_version=SPEC_VERSION,
        spec=spec.model_dump(mode="json"),
        queue=queue,
        status=JobStatus.VALIDATING,
        desired="run",
    )
    session.add(job)
    session.flush()
    log.append(session, job.id, Entry("status", "created", data={"status": JobStatus.VALIDATING}))
    return job


def _purge(storage: Storage, settings: Settings, job_id: str) -> None:
    """Delete a job's files. Best effort: the housekeeper deletes what no row refers to."""
    try:
        storage.delete_all(store_keys.artifacts(job_id))
        storage.delete_all(store_keys.logs(job_id))
    except Exception:
        _log.exception("purge_failed", job=job_id)
    shutil.rmtree(settings.runs_dir / job_id, ignore_errors=True)
