"""Events of a job: as a list, and as a stream."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BeforeValidator

from app.api.deps import AdaptersDep, CallerDep, SessionDep
from app.api.parameters import JobId
from app.api.schemas.base import ListOf
from app.api.schemas.history import EventOut
from app.api.streams.follower import Follower
from app.api.streams.sse import EventStream
from app.core.events.log import EventType
from app.services import history, jobs

LARGEST = 2**63 - 1
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: `id` is the `seq` of an event, `event` its `type`, "
        "`data` the event as GET /jobs/{job_id}/events lists it. A last `event: end` follows once "
        "the job has ended and everything was sent.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
router = APIRouter(prefix="/jobs/{job_id}", tags=["events"])
Seq = Annotated[
    int,
    Query(
        ge=0, le=LARGEST, description="`seq` of the last event received; later ones are returned."
    ),
]


def _split(given: list[str]) -> list[str]:
    """Accept commas and repeats alike: `type=eval,log` equals `type=eval&type=log`."""
    return [name.strip() for part in given for name in part.split(",") if name.strip()]


Types = Annotated[
    list[EventType],
    BeforeValidator(_split),
    Query(
        alias="type",
        max_length=100,
        description="Types of event to list, comma-separated or repeated. Default: all.",
    ),
]


@router.get("/events")
def list_job_events(
    job_id: JobId,
    session: SessionDep,
    caller: CallerDep,
    after: Seq = 0,
    limit: Annotated[
        int, Query(ge=1, le=1000, description="Maximum number of events to return.")
    ] = 100,
    types: Types = [],  # noqa: B006
) -> ListOf[EventOut]:
    """List the events of a job, oldest first."""
    found = history.events(session, caller, job_id, after=after, limit=limit, types=types)
    return ListOf[EventOut].model_validate(found)


@router.get("/stream", response_class=StreamingResponse, responses=STREAM)
def stream_job_events(
    job_id: JobId,
    request: Request,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    after: Seq = 0,
    last_event_id: Annotated[
        int | None,
        Header(
            ge=0,
            le=LARGEST,
            description="`id` of the last event received. Sent by clients that reconnect; goes "
            "before `after`.",
        ),
    ] = None,
) -> Response:
    """Stream the events of a job as server-sent events: first those after `Last-Event-ID` (or
    `after`), then new ones as they happen, until the job has ended.
    """
    jobs.get(session, caller, job_id)
    follower: Follower = request.app.state.follower
    start = after if last_event_id is None else last_event_id
    return EventStream(follower.follow(job_id, start), adapters.telemetry.open_streams)
