"""What became of a job: its events, attempts, checkpoints and samples."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.db.models import Attempt, Checkpoint, Event, Json
from app.core.events import log
from app.services import jobs
from app.services.caller import Caller
from app.services.pages import Page

MAX_SAMPLES = 1000


def events(
    session: Session,
    caller: Caller,
    job_id: str,
    *,
    after: int,
    limit: int,
    types: Sequence[str],
) -> Page[Event]:
    """Oldest first."""
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
    """The last one of each step and prompt: an attempt that ran again has said it again."""
    jobs.get(session, caller, job_id)
    found = log.read(session, job_id, limit=MAX_SAMPLES, types=["sample"])
    latest = {(event.data.get("step"), event.data.get("prompt")): event.data for event in found}
    return list(latest.values())
