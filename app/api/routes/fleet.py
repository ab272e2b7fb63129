"""Waiting jobs and workers."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.deps import CallerDep, SessionDep, SettingsDep
from app.api.schemas.base import ListOf
from app.api.schemas.service import WaitingOut, WorkerOut
from app.services import queue

router = APIRouter(tags=["fleet"])


@router.get("/queue")
def list_queue(
    session: SessionDep,
    settings: SettingsDep,
    caller: CallerDep,
    limit: Annotated[
        int, Query(ge=1, le=1000, description="Maximum number of jobs to return.")
    ] = 100,
) -> ListOf[WaitingOut]:
    """List the waiting jobs of the project in the order in which workers take them, and why each
    waits.
    """
    found = queue.waiting(session, caller, settings, limit + 1)
    return ListOf[WaitingOut](
        data=[_waiting(one) for one in found[:limit]], has_more=len(found) > limit
    )


@router.get("/workers")
def list_workers(session: SessionDep, settings: SettingsDep) -> ListOf[WorkerOut]:
    """List the workers, most recently seen first."""
    return ListOf[WorkerOut](data=[_worker(seen) for seen in queue.workers(session, settings)])


def _waiting(waiting: queue.Waiting) -> WaitingOut:
    job, standing = waiting.job, waiting.standing
    fields = {name: getattr(job, name) for name in ("name", "queue", "status", "priority")}
    times = {"queued_at": job.queued_at, "created_at": job.created_at}
    return WaitingOut.model_validate({"job": job.id, **fields, **times, **vars(standing)})


def _worker(seen: queue.Seen) -> WorkerOut:
    names = ("id", "hostname", "device", "queue", "version", "started_at", "last_seen_at")
    fields = {name: getattr(seen.worker, name) for name in names}
    status = "alive" if seen.is_alive else "lost"
    return WorkerOut.model_validate({**fields, "job": seen.worker.job_id, "status": status})
