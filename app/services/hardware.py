"""The hardware available to jobs and how fast it was: the basis of a dry run's estimates."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.db.models import NOW, Job, Worker
from app.core.errors import Failure
from app.core.estimates import devices, time
from app.core.estimates.job import Estimates, needs_of
from app.core.estimates.needs import Needs
from app.core.estimates.precision import Device
from app.core.estimates.shape import ModelShape, Unknown, read_shape
from app.core.estimates.time import PastRun
from app.core.jobs.spec import JobSpec
from app.core.jobs.status import JobStatus
from app.core.models import find_model
from app.core.settings import Settings
from app.services.queue import patience

_PAST_RUNS = 50


@dataclass(frozen=True)
class Outlook:
    device: Device
    """That of the queue's workers; the server's setting if none is alive."""
    past: Sequence[PastRun]
    """Newest first."""

    def memory(self, found: Estimates | Unknown) -> dict[str, Any] | None:
        if isinstance(found, Unknown):
            return None
        own = found.memory(self.device)
        parts = {"device": self.device, **asdict(own)}
        return {**parts, "peak_bytes": own.peak_bytes, "fits": found.fits()}

    def seconds(self, found: Estimates | Unknown) -> dict[str, Any]:
        if isinstance(found, Unknown):
            return {"estimate": None, "basis": found.reason}
        took = time.estimate(found.shape, found.spec, found.work(), self.device, self.past)
        return {"estimate": took.estimate, "basis": took.basis}

    def needs(self, found: Estimates | Unknown, seconds: dict[str, Any], at: Path) -> Needs:
        # Only a trainer knows how large its worker's GPU is.
        own = devices.device_classes()[0] if self.device == "cpu" else None
        return replace(needs_of(found, own, at), seconds=seconds["estimate"])


def read(session: Session, settings: Settings) -> Outlook:
    alive = select(Worker.device).where(
        Worker.queue == settings.queue, Worker.last_seen_at >= NOW - patience(settings)
    )
    found = session.scalars(alive.order_by(Worker.last_seen_at.desc()).limit(1)).first()
    device = found or settings.device
    return Outlook("cuda" if device.startswith("cuda") else "cpu", _past(session, settings))


def _past(session: Session, settings: Settings) -> list[PastRun]:
    ended = select(Job).where(Job.status == JobStatus.SUCCEEDED).order_by(Job.id.desc())

    @cache
    def shape(model: str, revision: str | None) -> ModelShape | None:
        return _shape(settings, model, revision)

    runs = []
    for job in session.scalars(ended.limit(_PAST_RUNS)):
        try:
            # From JSON text: only there does a strict model accept JSON's own types.
            spec = JobSpec.model_validate_json(json.dumps(job.spec))
        except ValidationError:
            continue  # written by an older version
        if run := _run(job, spec, shape(spec.model, spec.model_revision)):
            runs.append(run)
    return runs


def _run(job: Job, spec: JobSpec, shape: ModelShape | None) -> PastRun | None:
    """None for a job with too few figures, or with a resume: its duration says too little."""
    progress, environment = job.progress or {}, job.environment or {}
    speed, seen = progress.get("tokens_per_second"), progress.get("tokens_seen")
    if not speed or not seen or job.started_at is None or job.finished_at is None:
        return None
    if job.attempt != 1:
        return None
    return PastRun(
        spec=spec,
        shape=shape,
        device="cpu" if environment.get("device") == "cpu" else "cuda",
        device_name=str(environment.get("device_name", "")),
        tokens_seen=seen,
        tokens_per_second=speed,
        seconds=(job.finished_at - job.started_at).total_seconds(),
    )


def _shape(settings: Settings, model: str, revision: str | None) -> ModelShape | None:
    try:
        path = find_model(settings, model, revision).path
    except Failure:
        return None
    shape = read_shape(path) if path else None
    return shape if isinstance(shape, ModelShape) else None
