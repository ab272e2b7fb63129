"""A job's events: rows numbered 1, 2, 3 per job, the only source of list, stream and dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.core.db.models import Event, Job

EventType = Literal[
    "status",
    "phase",
    "queue",
    "progress",
    "metrics",
    "eval",
    "sample",
    "checkpoint",
    "log",
    "warning",
    "error",
    "artifact",
]


@dataclass(frozen=True)
class Entry:
    type: str
    message: str = ""
    level: str = "info"
    data: Mapping[str, Any] = field(default_factory=dict)


def append(session: Session, job_id: str, *entries: Entry) -> int:
    """Append entries in order and return the last number assigned.

    Taking a number locks the job's row until commit, so numbers become visible in order and
    without gaps. A caller that must own the job does its guarded UPDATE first, in the same
    transaction.
    """
    taken = (
        update(Job)
        .where(Job.id == job_id)
        .values(last_seq=Job.last_seq + len(entries))
        .returning(Job.last_seq, Job.epoch, Job.attempt)
    )
    last, epoch, attempt = session.execute(taken).one()
    first = last - len(entries) + 1
    rows = [
        {
            "job_id": job_id,
            "seq": seq,
            "epoch": epoch,
            "attempt": attempt,
            "type": entry.type,
            "level": entry.level,
            "message": entry.message,
            "data": dict(entry.data),
        }
        for seq, entry in enumerate(entries, first)
    ]
    if rows:
        session.execute(insert(Event), rows)
    return last


def read(
    session: Session,
    job_id: str,
    *,
    after: int = 0,
    limit: int = 100,
    types: Sequence[str] = (),
) -> list[Event]:
    """Return events with seq > `after`, oldest first."""
    query = select(Event).where(Event.job_id == job_id, Event.seq > after)
    if types:
        query = query.where(Event.type.in_(types))
    return list(session.scalars(query.order_by(Event.seq).limit(limit)))
