"""What became of a job: attempts, checkpoints, samples, metrics, logs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from app.api.answers.downloads import disposition
from app.api.deps import AdaptersDep, CallerDep, SessionDep
from app.api.schemas.artifacts import LogsOut, MetricsOut
from app.api.schemas.base import ListOf
from app.api.schemas.jobs import AttemptOut, CheckpointOut, SampleOut
from app.services import history, jobs, logs, metrics
from app.services.metrics import MetricsRequest

DEFAULT_TAIL = 1000
TEXT = "text/plain; charset=utf-8"
Step = Annotated[int | None, Query(ge=0, le=2**63 - 1)]
router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])


@router.get("/attempts")
def list_job_attempts(job_id: str, session: SessionDep, caller: CallerDep) -> ListOf[AttemptOut]:
    """Oldest first."""
    found = history.attempts(session, caller, job_id)
    return ListOf[AttemptOut].model_validate({"data": found})


@router.get("/checkpoints")
def list_job_checkpoints(
    job_id: str, session: SessionDep, caller: CallerDep
) -> ListOf[CheckpointOut]:
    """By step."""
    found = history.checkpoints(session, caller, job_id)
    return ListOf[CheckpointOut].model_validate({"data": found})


@router.get("/samples")
def list_job_samples(job_id: str, session: SessionDep, caller: CallerDep) -> ListOf[SampleOut]:
    """The sample prompts, answered by the base model and by the adapter."""
    found = history.samples(session, caller, job_id)
    return ListOf[SampleOut].model_validate({"data": found})


@router.get("/metrics")
def get_job_metrics(
    job_id: str,
    session: SessionDep,
    caller: CallerDep,
    keys: Annotated[str | None, Query(max_length=1000, description="Comma-separated.")] = None,
    from_step: Step = None,
    to_step: Step = None,
    max_points: Annotated[int | None, Query(ge=4, le=100_000)] = None,
) -> MetricsOut:
    """Series by name. With `max_points` long ones are thinned so that no spike is lost."""
    names = [key.strip() for key in (keys or "").split(",") if key.strip()]
    wanted = MetricsRequest(names, from_step, to_step, max_points)
    found = metrics.series(session, caller, job_id, wanted)
    return MetricsOut.model_validate({"job": job_id, "series": found, "max_points": max_points})


@router.get("/metrics.csv", response_class=StreamingResponse)
def get_job_metrics_csv(
    job_id: str, session: SessionDep, adapters: AdaptersDep, caller: CallerDep
) -> Response:
    """A line per step, a column per metric."""
    jobs.get(session, caller, job_id)
    lines = metrics.csv_lines(adapters.sessions, job_id)
    headers = {"Content-Disposition": disposition(f"{job_id}-metrics.csv")}
    return StreamingResponse(lines, headers=headers, media_type="text/csv; charset=utf-8")


@router.get(
    "/logs",
    response_model=LogsOut,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_job_logs(
    job_id: str,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    tail: Annotated[int | None, Query(ge=1, le=10_000, description="Lines.")] = None,
    format: Literal["text", "json"] = "text",  # noqa: A002 - its name in the contract
) -> Response:
    """What the trainers printed, attempt by attempt. JSON holds the last 1,000 lines or `tail`."""
    attempts = history.attempts(session, caller, job_id)
    found = logs.sources(attempts, adapters.settings)
    if format == "text" and tail is None:
        return StreamingResponse(logs.whole(adapters.storage, found), media_type=TEXT)
    parts = logs.tail(adapters.storage, found, tail or DEFAULT_TAIL)
    if format == "text":
        return PlainTextResponse(b"".join(logs.as_text(parts)), media_type=TEXT)
    told = LogsOut.model_validate({"data": parts}).model_dump_json()
    return Response(told, media_type="application/json")
