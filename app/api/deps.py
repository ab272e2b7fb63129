"""Dependencies of routes. Adapters are wired once, in `app.main`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Header, Query, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.api.telemetry import Telemetry
from app.core.db.session import Sessions, transaction
from app.core.queue import Queue
from app.core.settings import DEFAULT_PROJECT, Settings
from app.core.storage import Storage
from app.services.caller import Caller
from app.services.counting.layouts import Layouts
from app.services.counting.lengths import TokenLengths
from app.services.counting.overlaps import Overlaps
from app.services.pages import Cursor
from app.services.partial_uploads import UnderWay
from app.services.preview import Previews

_AFTER = "Id of the last entry of the previous page; omit it for the first page."


@dataclass(frozen=True)
class Adapters:
    """Connections to everything outside this process."""

    settings: Settings
    engine: Engine
    sessions: Sessions
    storage: Storage
    queue: Queue
    notify: Callable[[str], None]
    """Notify the followers of a job that it has new events; returns immediately."""
    telemetry: Telemetry
    measures: TokenLengths
    layouts: Layouts
    overlaps: Overlaps
    previews: Previews
    uploads: CapacityLimiter
    """Limits concurrent uploads; further ones wait, with their bodies unread."""
    completing: UnderWay


def get_adapters(request: Request) -> Adapters:
    adapters: Adapters = request.app.state.adapters
    return adapters


AdaptersDep = Annotated[Adapters, Depends(get_adapters)]


def get_session(adapters: AdaptersDep) -> Iterator[Session]:
    with transaction(adapters.sessions) as session:
        yield session


# scope="function": commit before the response is sent, so a client that has
# read 201 can immediately read the job back.
SessionDep = Annotated[Session, Depends(get_session, scope="function")]


def get_caller() -> Caller:
    """Return the same caller for every request: there are no API keys yet.

    Authentication will be added here.
    """
    return Caller(project_id=DEFAULT_PROJECT, owner_id="anonymous")


CallerDep = Annotated[Caller, Depends(get_caller)]


def get_storage(adapters: AdaptersDep) -> Storage:
    return adapters.storage


def get_settings(adapters: AdaptersDep) -> Settings:
    return adapters.settings


StorageDep = Annotated[Storage, Depends(get_storage)]
SettingsDep = Annotated[Settings, Depends(get_settings)]


def get_cursor(
    after: Annotated[str | None, Query(max_length=64, description=_AFTER)] = None,
    limit: Annotated[
        int, Query(ge=1, le=100, description="Maximum number of entries to return.")
    ] = 20,
) -> Cursor:
    return Cursor(after, limit)


CursorDep = Annotated[Cursor, Depends(get_cursor)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A unique string chosen by the client. Repeating a request with the same key "
        "and body within 24 hours returns the first response and creates nothing.",
    ),
]
