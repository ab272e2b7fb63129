"""The live workers of one queue: which are busy, and when the jobs that wait can start."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.core.db.models import NOW, Job, Worker
from app.core.jobs.status import JobStatus

_PAST_JOBS = 20


@dataclass(frozen=True)
class Fleet:
    workers: int
    """Number of live workers."""
    busy: Sequence[datetime | None]
    """For each worker that has a job, when it will probably be free; None if unknown."""
    usual: timedelta | None
    """Median duration of the newest jobs that succeeded; None before the first."""

    def reason(self, position: int, queue: str) -> str:
        """Say why the job at this position (1 is next) has not started."""
        if len(self.busy) < self.workers:
            return "waiting for a worker"
        who = "the worker is" if self.workers == 1 else f"all {self.workers} workers are"
        ahead = position - 1
        others = f"; {ahead} job{'s are' if ahead > 1 else ' is'} ahead" if ahead else ""
        return f"{who} busy on queue {queue!r}{others}"

    def start_of(self, position: int) -> datetime | None:
        """Estimate when the job at this position starts. Each job ahead takes the usual time."""
        if len(self.busy) < self.workers:
            return None
        free = [at for at in self.busy if at is not None]
        heapq.heapify(free)
        for _ in range(position - 1):
            if not free or (self.usual is None and len(free) == 1):
                return None
            at = heapq.heappop(free)
            if self.usual is not None:
                heapq.heappush(free, at + self.usual)
        return free[0] if free else None


def read(session: Session, queue: str, patience: timedelta) -> Fleet:
    """`patience`: the age of a worker's last report at which it counts as lost."""
    alive = (
        select(Worker.job_id, Job)
        .outerjoin(Job, Job.id == Worker.job_id)
        .where(Worker.queue == queue, Worker.last_seen_at >= NOW - patience)
    )
    found = session.execute(alive).all()
    running = [job for job_id, job in found if job_id is not None]
    if not found or len(running) < len(found):
        return Fleet(len(found), [None] * len(running), None)
    usual = _usual(session, queue)
    return Fleet(len(found), [_free_at(job, usual) for job in running], usual)


def _usual(session: Session, queue: str) -> timedelta | None:
    ended = (
        select(Job.started_at, Job.finished_at)
        .where(Job.queue == queue, Job.status == JobStatus.SUCCEEDED)
        .order_by(Job.id.desc())
        .limit(_PAST_JOBS)
    )
    took = [
        (finished - started).total_seconds()
        for started, finished in session.execute(ended)
        if started and finished
    ]
    return timedelta(seconds=median(took)) if took else None


def _free_at(job: Job | None, usual: timedelta | None) -> datetime | None:
    now = utc_now()
    left = (job.progress or {}).get("eta_seconds") if job else None
    if left is not None:
        return now + timedelta(seconds=left)
    if job is None or job.started_at is None or usual is None:
        return None
    return max(now, job.started_at + usual)
