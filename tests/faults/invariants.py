"""Invariants that must hold after any fault (reliability.md, section 6), checked against database,
store and processes, and against the caller's ledger of acknowledged ids.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.core.db.models import Attempt, Event, Job
from app.core.db.session import Sessions, transaction
from app.core.jobs.status import FINAL, JobStatus
from app.core.settings import Settings
from app.core.storage import Storage, open_storage
from worker import processes

RECLAIM_SECONDS = 20


def check(settings: Settings, sessions: Sessions, ledger: Collection[str]) -> None:
    """Fail the test with all violations found."""
    found = list(violations(settings, sessions, ledger))
    assert not found, "\n".join(found)


def violations(settings: Settings, sessions: Sessions, ledger: Collection[str]) -> Iterator[str]:
    storage = open_storage(settings)
    with transaction(sessions) as session:
        jobs = {job.id: job for job in session.scalars(select(Job))}
        for missing in set(ledger) - jobs.keys():
            yield f"I13 {missing} was acknowledged but is missing"
        for job in jobs.values():
            events = session.scalars(
                select(Event).where(Event.job_id == job.id).order_by(Event.seq)
            ).all()
            yield from _log_is_sound(job, events)
            yield from _attempts_are_sound(session, job)
            yield from _lease_is_live(session, job)
            yield from _artifact_is_whole(storage, job)
    yield from _no_orphan_artifacts(storage, jobs)
    yield from _no_orphan_processes(settings.runs_dir, jobs)


def _log_is_sound(job: Job, events: Collection[Event]) -> Iterator[str]:
    numbers = [event.seq for event in events]
    if numbers != list(range(1, job.last_seq + 1)):
        yield f"I3 {job.id}: events {numbers} do not run from 1 to {job.last_seq}"
    moves = [(event.seq, event.data["status"]) for event in events if _is_move(event)]
    ends = [seq for seq, status in moves if JobStatus(status) in FINAL]
    if len(ends) != (JobStatus(job.status) in FINAL):
        yield f"I1 {job.id} is {job.status} with {len(ends)} final events"
    if ends and ends[0] != job.last_seq:
        yield f"I2 {job.id}: {job.last_seq - ends[0]} events after its end"
    epochs = [event.epoch for event in events]
    if epochs != sorted(epochs):
        yield f"I5 {job.id}: an event of an older epoch after a newer one: {epochs}"
    started = [e.epoch for e in events if _is_move(e) and e.data["status"] == "running"]
    if len(set(started)) != len(started):
        yield f"I4 {job.id}: two starts in one epoch: {started}"
    if job.epoch < max(epochs, default=0):
        yield f"I5 {job.id}: an event of an epoch that has not started"


def _is_move(event: Event) -> bool:
    """Whether the event is a change of status and not a remark about one."""
    return event.type == "status" and "status" in event.data and event.message != _REMARK


_REMARK = "cancel requested"


def _attempts_are_sound(session: Session, job: Job) -> Iterator[str]:
    attempts = session.scalars(select(Attempt).where(Attempt.job_id == job.id)).all()
    most = 1 + int(job.spec["limits"]["max_retries"])
    counted = [each for each in attempts if each.outcome not in ("drained", "device_missing", None)]
    if len(counted) > most:
        yield f"I9 {job.id}: {len(counted)} attempts, {most} allowed"
    if Counter(each.attempt for each in attempts) != Counter(range(1, job.attempt + 1)):
        yield f"I9 {job.id}: attempts do not run from 1 to {job.attempt}"
    open_ones = [each for each in attempts if each.ended_at is None]
    if len(open_ones) != (job.status == JobStatus.RUNNING):
        yield f"I9 {job.id} is {job.status} with {len(open_ones)} open attempts"


def _lease_is_live(session: Session, job: Job) -> Iterator[str]:
    if job.status != JobStatus.RUNNING:
        return
    overdue = text("SELECT clock_timestamp() - lease_until > :most * interval '1 s' FROM jobs "
                   "WHERE id = :id")  # fmt: skip
    if session.scalar(overdue, {"most": RECLAIM_SECONDS, "id": job.id}):
        yield f"I8 {job.id} is running on a lease that nobody reclaimed"


def _artifact_is_whole(storage: Storage, job: Job) -> Iterator[str]:
    if (job.artifact is None) == (job.status == JobStatus.SUCCEEDED):
        yield f"I12 {job.id} is {job.status} and its artifact {job.artifact is not None}"
    if job.artifact is None:
        return
    prefix = job.artifact["prefix"]
    for file in job.artifact["files"]:
        if _sha256(storage, prefix + file["path"]) != file["sha256"]:
            yield f"I6 {job.id}: {file['path']} differs from the job's row"
    if _sha256(storage, prefix + "adapter.zip") != job.artifact["zip"]["sha256"]:
        yield f"I6 {job.id}: the archive differs from the job's row"
    manifest = json.loads(b"".join(storage.read(prefix + "manifest.json")))
    named = {file["path"] for file in manifest["files"]}
    stored = {key.removeprefix(prefix) for key in storage.keys(prefix)}
    if stored != named | {"manifest.json", "adapter.zip"}:
        yield f"I6 {job.id}: stored {sorted(stored)}, named {sorted(named)}"


def _sha256(storage: Storage, key: str) -> str:
    digest = hashlib.sha256()
    for chunk in storage.read(key):
        digest.update(chunk)
    return digest.hexdigest()


def _no_orphan_artifacts(storage: Storage, jobs: dict[str, Job]) -> Iterator[str]:
    """I7, without waiting an hour for the garbage collector: epochs that never existed."""
    for key in storage.keys("artifacts/"):
        _, job_id, epoch, _ = key.split("/")
        if job_id not in jobs or int(epoch) > jobs[job_id].epoch:
            yield f"I7 {key} has no owner"


def _no_orphan_processes(runs_dir: Path, jobs: dict[str, Job]) -> Iterator[str]:
    for note in runs_dir.glob("*/*/process.json"):
        job_id, epoch = note.parts[-3:-1]
        job = jobs.get(job_id)
        is_held = job and job.status == JobStatus.RUNNING and job.epoch == int(epoch)
        alive = processes.with_token(json.loads(note.read_text())["token"])
        if alive and not is_held:
            yield f"I11 {job_id}/{epoch}: processes {alive} run without a lease"
