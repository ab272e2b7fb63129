"""Idempotency-Key: a repeated creating POST gets the answer of the first one.

The row is written in the creating transaction, so it exists exactly when the resource does.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.core.db.models import NOW, IdempotencyKey, Json
from app.core.errors import Conflict, Invalid
from app.services.caller import Caller

KEPT_FOR = timedelta(hours=24)


@dataclass(frozen=True)
class Attempt:
    """One try of a request that must take effect once."""

    route: str
    key: str | None
    """None: the caller sent no Idempotency-Key."""
    body_sha256: str


@dataclass(frozen=True)
class Answer:
    body: Json
    is_replay: bool = False


class KeyReused(Invalid):
    code = "idempotency_key_reused"


class StillUnderWay(Conflict):
    code = "idempotency_in_progress"


def once(session: Session, caller: Caller, attempt: Attempt, make: Callable[[], Json]) -> Answer:
    """Call `make` and store its answer, or return the stored one.

    Raises KeyReused for another body under the same key, StillUnderWay while a first try runs.
    """
    if attempt.key is None:
        return Answer(make())
    _lock(session, caller, attempt)
    return known(session, caller, attempt) or Answer(_remember(session, caller, attempt, make()))


def known(session: Session, caller: Caller, attempt: Attempt) -> Answer | None:
    """Return the stored answer, if there is one yet. Raises KeyReused."""
    first = _first(session, caller, attempt) if attempt.key else None
    if first is None:
        return None
    if first.body_sha256 != attempt.body_sha256:
        raise KeyReused("This Idempotency-Key was used with another body before; use a new key.")
    return Answer(first.answer, is_replay=True)


def _lock(session: Session, caller: Caller, attempt: Attempt) -> None:
    """Lock until the transaction ends, without waiting: a repeat must not pin a connection."""
    name = "\n".join((caller.project_id, attempt.route, attempt.key or ""))
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    if not session.scalar(select(func.pg_try_advisory_xact_lock(number))):
        raise StillUnderWay(
            "The first request with this Idempotency-Key is still in progress; try again.",
            retry_after_seconds=1,
        )


def _first(session: Session, caller: Caller, attempt: Attempt) -> IdempotencyKey | None:
    return session.scalar(
        select(IdempotencyKey).where(
            IdempotencyKey.project_id == caller.project_id,
            IdempotencyKey.route == attempt.route,
            IdempotencyKey.key == attempt.key,
            IdempotencyKey.created_at > NOW - KEPT_FOR,
        )
    )


def _remember(session: Session, caller: Caller, attempt: Attempt, answer: Json) -> Json:
    values = {
        "body_sha256": attempt.body_sha256,
        "resource_id": answer["id"],
        "answer": answer,
        "created_at": NOW,
    }
    row = insert(IdempotencyKey).values(
        project_id=caller.project_id, route=attempt.route, key=attempt.key, **values
    )
    keys = ["project_id", "route", "key"]
    session.execute(row.on_conflict_do_update(index_elements=keys, set_=values))
    return answer
