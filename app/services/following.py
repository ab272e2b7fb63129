"""Where followed jobs stand: what a stream asks once a second for all of them together."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.db.models import Job
from app.core.jobs import lifecycle


@dataclass(frozen=True)
class State:
    job_id: str
    last_seq: int
    status: str
    is_final: bool


def states(session: Session, job_ids: Collection[str]) -> list[State]:
    """Of those that still exist. Of a final job, `last_seq` is the end of its log."""
    query = select(Job.id, Job.last_seq, Job.status).where(Job.id.in_(job_ids))
    return [
        State(row.id, row.last_seq, row.status, lifecycle.is_final(row.status))
        for row in session.execute(query)
    ]
