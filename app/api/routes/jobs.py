"""Jobs: create, read, update, cancel, delete."""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Query, status
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime
from sqlalchemy.orm import Session

from app.api.answers.replies import created
from app.api.deps import AdaptersDep, CallerDep, CursorDep, IdempotencyKey, SessionDep
from app.api.parameters import JobId
from app.api.requests.body import JsonRoute
from app.api.schemas.base import ListOf
from app.api.schemas.dry_run import PlanOut
from app.api.schemas.jobs import JobOut, JobPatch
from app.core.db.models import Job
from app.core.jobs.spec import JobSpec
from app.core.jobs.status import JobStatus
from app.core.settings import Settings
from app.services import idempotency, jobs, queue
from app.services.dry_run import draw_plan
from app.services.jobs import Filter

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=JsonRoute)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=JobOut,
    responses={200: {"model": PlanOut, "description": "The result of the dry run."}},
)
def create_job(
    spec: JobSpec,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    key: IdempotencyKey = None,
    dry_run: Annotated[
        bool, Query(description="Return what the job would do, without creating it.")
    ] = False,
) -> Response:
    """Create a fine-tuning job. Returns immediately; follow the job through its events.

    With `dry_run`, creates nothing and returns what the job would do and need: rows and tokens,
    steps, memory, time, warnings. If the job would fail at its start, returns that failure's code.
    """
    if dry_run:
        plan = draw_plan(
            session,
            caller,
            spec,
            settings=adapters.settings,
            storage=adapters.storage,
            layouts=adapters.layouts,
        )
        return JSONResponse(PlanOut.model_validate(plan).model_dump(mode="json"))

    def submit() -> dict[str, Any]:
        job = jobs.submit(
            session,
            caller,
            spec,
            settings=adapters.settings,
            storage=adapters.storage,
            queue=adapters.queue,
            layouts=adapters.layouts,
        )
        return render(session, adapters.settings, job).model_dump(mode="json")

    attempt = idempotency.Attempt("POST /jobs", key, _digest(spec))
    answer = idempotency.once(session, caller, attempt, submit)
    return created("/jobs", answer)


@router.get("")
def list_jobs(
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    cursor: CursorDep,
    wanted: Annotated[
        list[JobStatus],
        Query(alias="status", description="State of the job; repeated: any of these."),
    ] = [],  # noqa: B006
    model: Annotated[
        str | None, Query(max_length=200, description="Base model, as named in the spec.")
    ] = None,
    dataset: Annotated[
        str | None, Query(max_length=64, description="Id of the dataset that is trained on.")
    ] = None,
    tag: Annotated[
        list[str],
        Query(
            max_length=16,
            description="Tag of the job, `key` or `key:value`; repeated: all of these.",
        ),
    ] = [],  # noqa: B006
    q: Annotated[
        str | None,
        Query(
            max_length=200, description="Text in the name or the id of the job; case is ignored."
        ),
    ] = None,
    created_after: Annotated[
        AwareDatetime | None,
        Query(description="Time, with its offset from UTC, after which the job was created."),
    ] = None,
) -> ListOf[JobOut]:
    """List the jobs, newest first; filters narrow the list."""
    filters = Filter(wanted, model, dataset, tag, q, created_after)
    page = jobs.page(session, caller, cursor, filters)
    standings = queue.standings(session, page.data, adapters.settings)
    return ListOf[JobOut](
        data=[JobOut.of(job, standings) for job in page.data], has_more=page.has_more
    )


@router.get("/{job_id}")
def get_job(job_id: JobId, session: SessionDep, adapters: AdaptersDep, caller: CallerDep) -> JobOut:
    """Get a job: its spec with every default filled in, status, progress and result."""
    return render(session, adapters.settings, jobs.get(session, caller, job_id))


@router.patch("/{job_id}")
def update_job(
    job_id: JobId, patch: JobPatch, session: SessionDep, adapters: AdaptersDep, caller: CallerDep
) -> JobOut:
    """Change the name, tags or notes of a job and, while it waits for a worker, its priority."""
    changes = patch.model_dump(exclude_unset=True)
    job = jobs.patch(session, caller, job_id, changes, adapters.notify)
    return render(session, adapters.settings, job)


@router.post("/{job_id}/cancel")
def cancel_job(
    job_id: JobId, session: SessionDep, adapters: AdaptersDep, caller: CallerDep
) -> JobOut:
    """Cancel a job. A running one is stopped within seconds: follow it until it is `cancelled`.
    409 for a job that has succeeded or failed.
    """
    job = jobs.cancel(session, caller, job_id, adapters.notify)
    return render(session, adapters.settings, job)


@router.delete("/{job_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_job(
    job_id: JobId, session: SessionDep, adapters: AdaptersDep, caller: CallerDep
) -> None:
    """Delete a job that has ended, with its events, metrics, logs and artifacts. 409 for a job that
    has not ended.
    """
    jobs.delete(
        session,
        caller,
        job_id,
        storage=adapters.storage,
        settings=adapters.settings,
        notify=adapters.notify,
    )


def render(session: Session, settings: Settings, job: Job) -> JobOut:
    return JobOut.of(job, queue.standings(session, [job], settings))


def _digest(spec: JobSpec) -> str:
    """Hash the parsed spec, so that whitespace and the order of keys make no difference."""
    return hashlib.sha256(spec.model_dump_json(exclude_unset=True).encode()).hexdigest()
