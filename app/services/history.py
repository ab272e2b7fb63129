"""A job's history: its events, attempts, checkpoints and samples."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.db.models import Attempt, Checkpoint, Event, Job, Json
from app.core.events import log
from app.core.jobs import lifecycle
from app.services import jobs
from app.services.caller import Caller
from app.services.pages import Page

MAX_SAMPLES = 1000


@dataclass(frozen=True)
class State:
    job_id: str
    last_seq: int
    status: str
    is_final: bool


def events(
    session: Session,
    caller: Caller,
    job_id: str,
    *,
    after: int,
    limit: int,
    types: Sequence[str],
) -> Page[Event]:
    """Return a page of a job's events, oldest first."""
    jobs.get(session, caller, job_id)
    found = log.read(session, job_id, after=after, limit=limit + 1, types=types)
    return Page(found[:limit], len(found) > limit)


def attempts(session: Session, caller: Caller, job_id: str) -> list[Attempt]:
    jobs.get(session, caller, job_id)
    query = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.epoch)
    return list(session.scalars(query))


def checkpoints(session: Session, caller: Caller, job_id: str) -> list[Checkpoint]:
    jobs.get(session, caller, job_id)
    query = select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc())
    return list(session.scalars(query))


def samples(session: Session, caller: Caller, job_id: str) -> list[Json]:
    """Return the latest sample of each step and prompt: a later attempt may repeat a step."""
    jobs.get(session, caller, job_id)
    found = log.read(session, job_id, limit=MAX_SAMPLES, types=["sample"])
    latest = {(event.data.get("step"), event.data.get("prompt")): event.data for event in found}
    return list(latest.values())


def states(session: Session, job_ids: Collection[str]) -> list[State]:
    """Return the states of jobs that still exist. `last_seq` of a final job is its last event."""
    query = select(Job.id, Job.last_seq, Job.status).where(Job.id.in_(job_ids))
    return [
        State(row.id, row.last_seq, row.status, lifecycle.is_final(row.status))
        for row in session.execute(query)
    ]
