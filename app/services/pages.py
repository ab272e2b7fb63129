"""Keyset pages: newest first, `after` exclusive."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.core.db.models import Dataset, Job
from app.core.errors import InvalidCursor
from app.services.caller import Caller

T = TypeVar("T")
Row = TypeVar("Row", Dataset, Job)


@dataclass(frozen=True)
class Cursor:
    after: str | None = None
    limit: int = 20


@dataclass(frozen=True)
class Page(Generic[T]):
    data: Sequence[T]
    has_more: bool


def newest_first(
    session: Session, table: type[Row], query: Select[Row], caller: Caller, cursor: Cursor
) -> Page[Row]:
    """Return a page of the project's rows. Raises InvalidCursor for an id it does not have."""
    key, project = table.id, table.project_id
    own = query.where(project == caller.project_id)
    if cursor.after is not None:
        known = select(key).where(key == cursor.after, project == caller.project_id)
        if session.scalar(known) is None:
            raise InvalidCursor(cursor.after)
        own = own.where(key < cursor.after)
    rows = list(session.scalars(own.order_by(key.desc()).limit(cursor.limit + 1)))
    return Page(rows[: cursor.limit], len(rows) > cursor.limit)
