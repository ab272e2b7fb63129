"""A job's log: as a list, and as a stream."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BeforeValidator

from app.api.deps import AdaptersDep, CallerDep, SessionDep
from app.api.schemas.base import ListOf
from app.api.schemas.jobs import EventOut
from app.api.streams.follower import Follower
from app.api.streams.sse import EventStream
from app.core.events.log import EventType
from app.services import history, jobs

LARGEST = 2**63 - 1
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: `id` is the seq, `event` the type, `data` an event as "
        "in the list. A last `event: end` when the job is final and everything was sent.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
router = APIRouter(prefix="/jobs/{job_id}", tags=["events"])
Seq = Annotated[int, Query(ge=0, le=LARGEST, description="The last seq seen.")]


def _split(given: list[str]) -> list[str]:
    """Commas and repeats say the same: `type=eval,log` is `type=eval&type=log`."""
    return [name.strip() for part in given for name in part.split(",") if name.strip()]


Types = Annotated[
    list[EventType],
    BeforeValidator(_split),
    Query(alias="type", max_length=100, description="Several: comma-separated, or repeated."),
]


@router.get("/events")
def list_job_events(
    job_id: str,
    session: SessionDep,
    caller: CallerDep,
    after: Seq = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    types: Types = [],  # noqa: B006
) -> ListOf[EventOut]:
    """In order, oldest first."""
    found = history.events(session, caller, job_id, after=after, limit=limit, types=types)
    return ListOf[EventOut].model_validate(found)


@router.get("/stream", response_class=StreamingResponse, responses=STREAM)
def stream_job_events(
    job_id: str,
    request: Request,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    after: Seq = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST)] = None,
) -> Response:
    """What came after `Last-Event-ID` (or `after`), then what comes, until the job is final."""
    jobs.get(session, caller, job_id)
    follower: Follower = request.app.state.follower
    start = after if last_event_id is None else last_event_id
    return EventStream(follower.follow(job_id, start), adapters.telemetry.open_streams)
