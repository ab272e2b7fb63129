"""Jobs: create, look at, change, cancel, delete."""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Query, status
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime
from sqlalchemy.orm import Session

from app.api.answers.replies import created
from app.api.deps import AdaptersDep, CallerDep, CursorDep, IdempotencyKey, SessionDep
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
    responses={200: {"model": PlanOut, "description": "The plan, with `dry_run`."}},
)
def create_job(
    spec: JobSpec,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="Only the plan; nothing is created.")] = False,
) -> Response:
    """Start a fine-tuning job. Returns at once; follow it through its events.

    With `dry_run`, the answer is its plan: rows and tokens, steps, memory, time, warnings. What the
    job would fail with at its start is refused with the same code.
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
        )
        return told(session, adapters.settings, job).model_dump(mode="json")

    attempt = idempotency.Attempt("POST /jobs", key, _digest(spec))
    answer = idempotency.once(session, caller, attempt, submit)
    return created("/jobs", answer)


@router.get("")
def list_jobs(
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    cursor: CursorDep,
    wanted: Annotated[list[JobStatus], Query(alias="status")] = [],  # noqa: B006
    model: Annotated[str | None, Query(max_length=200)] = None,
    dataset: Annotated[str | None, Query(max_length=64)] = None,
    tag: Annotated[list[str], Query(description="`key` or `key:value`.", max_length=16)] = [],  # noqa: B006
    q: Annotated[str | None, Query(max_length=200, description="In a name or an id.")] = None,
    created_after: AwareDatetime | None = None,
) -> ListOf[JobOut]:
    """Newest first. Give `status` and `tag` several times to widen and to narrow."""
    filters = Filter(wanted, model, dataset, tag, q, created_after)
    page = jobs.page(session, caller, cursor, filters)
    standings = queue.standings(session, page.data, adapters.settings)
    return ListOf[JobOut](
        data=[JobOut.of(job, standings) for job in page.data], has_more=page.has_more
    )


@router.get("/{job_id}")
def get_job(job_id: str, session: SessionDep, adapters: AdaptersDep, caller: CallerDep) -> JobOut:
    return told(session, adapters.settings, jobs.get(session, caller, job_id))


@router.patch("/{job_id}")
def update_job(
    job_id: str, patch: JobPatch, session: SessionDep, adapters: AdaptersDep, caller: CallerDep
) -> JobOut:
    """Change name, tags, notes; and, while it waits, the priority."""
    changes = patch.model_dump(exclude_unset=True)
    job = jobs.patch(session, caller, job_id, changes, adapters.notify)
    return told(session, adapters.settings, job)


@router.post("/{job_id}/cancel")
def cancel_job(
    job_id: str, session: SessionDep, adapters: AdaptersDep, caller: CallerDep
) -> JobOut:
    """Cancel it. A running job goes on for seconds: follow it to its `cancelled`."""
    job = jobs.cancel(session, caller, job_id, adapters.notify)
    return told(session, adapters.settings, job)


@router.delete("/{job_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_job(job_id: str, session: SessionDep, adapters: AdaptersDep, caller: CallerDep) -> None:
    """Delete an ended job with its events, metrics, logs and artifacts. 409 before its end."""
    jobs.delete(
        session,
        caller,
        job_id,
        storage=adapters.storage,
        settings=adapters.settings,
        notify=adapters.notify,
    )


def told(session: Session, settings: Settings, job: Job) -> JobOut:
    return JobOut.of(job, queue.standings(session, [job], settings))


def _digest(spec: JobSpec) -> str:
    """Of what was said, not of how it was spelled: spaces and the order of keys do not count."""
    return hashlib.sha256(spec.model_dump_json(exclude_unset=True).encode()).hexdigest()
