"""Artifacts of a succeeded job: its files, and the adapter as one zip."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.core import store_keys
from app.core.db.models import Job
from app.core.errors import Conflict, NotFound
from app.core.jobs import lifecycle
from app.services import jobs
from app.services.caller import Caller


@dataclass(frozen=True)
class Stored:
    """An object in the store, with the size and hash recorded by its job."""

    key: str
    num_bytes: int
    sha256: str


class NoArtifacts(Conflict):
    code = "no_artifacts"

    def __init__(self, job: Job) -> None:
        is_over = lifecycle.is_final(job.status)
        reason = "it has no adapter" if is_over else "it has an adapter once it has succeeded"
        super().__init__(
            f"Job {job.id!r} is {job.status}: {reason}.",
            current=job.status,
            allowed=["delete"] if is_over else ["cancel"],
        )


class ArtifactNotFound(NotFound):
    code = "artifact_not_found"


def manifest(session: Session, caller: Caller, job_id: str) -> dict[str, Any]:
    """Return {prefix, files, zip}. Raises NoArtifacts for a job that has not succeeded."""
    job = jobs.get(session, caller, job_id)
    if job.artifact is None:
        raise NoArtifacts(job)
    return job.artifact


def file(session: Session, caller: Caller, job_id: str, path: str) -> Stored:
    """Return a file by its path in the manifest. Raises ArtifactNotFound for any other path."""
    artifact = manifest(session, caller, job_id)
    found = next((file for file in artifact["files"] if file["path"] == path), None)
    if found is None:
        raise ArtifactNotFound(f"Job {job_id!r} has no artifact {path!r}.")
    return Stored(artifact["prefix"] + path, found["bytes"], found["sha256"])


def adapter(session: Session, caller: Caller, job_id: str) -> Stored:
    artifact = manifest(session, caller, job_id)
    archive = artifact.get("zip")
    if archive is None:
        raise ArtifactNotFound(f"Job {job_id!r} has no adapter archive.")
    return Stored(artifact["prefix"] + store_keys.ADAPTER, archive["bytes"], archive["sha256"])
