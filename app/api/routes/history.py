"""History of a job: attempts, checkpoints, samples, metrics, logs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from app.api.answers.downloads import disposition
from app.api.deps import AdaptersDep, CallerDep, SessionDep
from app.api.parameters import JobId
from app.api.schemas.artifacts import LogsOut, MetricsOut
from app.api.schemas.base import ListOf
from app.api.schemas.history import AttemptOut, CheckpointOut, SampleOut
from app.services import history, jobs, metrics, trainer_logs
from app.services.metrics import MetricsRequest

DEFAULT_TAIL = 1000
TEXT = "text/plain; charset=utf-8"
LAST_STEP = 2**63 - 1
router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])


@router.get("/attempts")
def list_job_attempts(job_id: JobId, session: SessionDep, caller: CallerDep) -> ListOf[AttemptOut]:
    """List the attempts that workers made at a job, oldest first."""
    found = history.attempts(session, caller, job_id)
    return ListOf[AttemptOut].model_validate({"data": found})


@router.get("/checkpoints")
def list_job_checkpoints(
    job_id: JobId, session: SessionDep, caller: CallerDep
) -> ListOf[CheckpointOut]:
    """List the checkpoints of a job, newest first."""
    found = history.checkpoints(session, caller, job_id)
    return ListOf[CheckpointOut].model_validate({"data": found})


@router.get("/samples")
def list_job_samples(job_id: JobId, session: SessionDep, caller: CallerDep) -> ListOf[SampleOut]:
    """List the answers of the base model and of the adapter to the `sample_prompts` of a job."""
    found = history.samples(session, caller, job_id)
    return ListOf[SampleOut].model_validate({"data": found})


@router.get("/metrics")
def get_job_metrics(
    job_id: JobId,
    session: SessionDep,
    caller: CallerDep,
    keys: Annotated[
        str | None,
        Query(
            max_length=1000,
            description="Names of metrics, comma-separated. Default: all that were logged.",
        ),
    ] = None,
    from_step: Annotated[
        int | None, Query(ge=0, le=LAST_STEP, description="First optimizer step to include.")
    ] = None,
    to_step: Annotated[
        int | None, Query(ge=0, le=LAST_STEP, description="Last optimizer step to include.")
    ] = None,
    max_points: Annotated[
        int | None,
        Query(
            ge=4,
            le=100_000,
            description="Maximum number of points in a series. A longer one keeps its first and "
            "last point and the lowest and highest value of each interval between them.",
        ),
    ] = None,
) -> MetricsOut:
    """Get the metrics of a job, one series each. `max_points` thins long ones but keeps peaks."""
    names = [key.strip() for key in (keys or "").split(",") if key.strip()]
    query = MetricsRequest(names, from_step, to_step, max_points)
    found = metrics.series(session, caller, job_id, query)
    return MetricsOut.model_validate({"job": job_id, "series": found, "max_points": max_points})


@router.get("/metrics.csv", response_class=StreamingResponse)
def get_job_metrics_csv(
    job_id: JobId, session: SessionDep, adapters: AdaptersDep, caller: CallerDep
) -> Response:
    """Download the metrics of a job as CSV: a line per optimizer step, a column per metric."""
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
    job_id: JobId,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    tail: Annotated[
        int | None,
        Query(
            ge=1,
            le=10_000,
            description="Number of lines from the end, over all attempts. Default: all as text, "
            "the last 1,000 as JSON.",
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - its name in the contract
        Literal["text", "json"],
        Query(description="`text` puts a header line before each attempt; `json` lists them."),
    ] = "text",
) -> Response:
    """Get the trainer logs of a job, attempt by attempt, with secrets removed."""
    attempts = history.attempts(session, caller, job_id)
    found = trainer_logs.sources(attempts, adapters.settings)
    if format == "text" and tail is None:
        return StreamingResponse(trainer_logs.whole(adapters.storage, found), media_type=TEXT)
    parts = trainer_logs.tail(adapters.storage, found, tail or DEFAULT_TAIL)
    if format == "text":
        return PlainTextResponse(b"".join(trainer_logs.as_text(parts)), media_type=TEXT)
    body = LogsOut.model_validate({"data": parts}).model_dump_json()
    return Response(body, media_type="application/json")
