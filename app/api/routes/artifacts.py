"""Artifacts of a succeeded job: the manifest, each file, and the adapter as one zip."""

from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response, StreamingResponse

from app.api.answers.downloads import Download, respond
from app.api.deps import CallerDep, SessionDep, StorageDep
from app.api.parameters import JobId
from app.api.schemas.artifacts import ManifestOut
from app.services import artifacts

router = APIRouter(prefix="/jobs/{job_id}", tags=["artifacts"])


@router.get("/artifacts")
def list_job_artifacts(job_id: JobId, session: SessionDep, caller: CallerDep) -> ManifestOut:
    """List the files that a job published, with sizes and hashes. 409 until it has succeeded."""
    found = artifacts.manifest(session, caller, job_id)
    payload = {"job": job_id, "files": found["files"], "adapter": found.get("zip")}
    return ManifestOut.model_validate(payload)


@router.head("/artifacts/{path:path}", include_in_schema=False)
@router.get("/artifacts/{path:path}", response_class=StreamingResponse)
def get_job_artifact(
    job_id: JobId,
    path: Annotated[str, Path(description="Name of the file, as in the list of artifacts.")],
    request: Request,
    session: SessionDep,
    caller: CallerDep,
    storage: StorageDep,
) -> Response:
    """Download one of the files that a job published. `ETag` is its SHA-256; `Range` and `If-Range`
    are supported.
    """
    found = artifacts.file(session, caller, job_id, path)
    name = PurePosixPath(path).name
    return respond(request, storage, Download(found.key, found.num_bytes, found.sha256, name))


@router.head("/adapter", include_in_schema=False)
@router.get("/adapter", response_class=StreamingResponse)
def get_job_adapter(
    job_id: JobId, request: Request, session: SessionDep, caller: CallerDep, storage: StorageDep
) -> Response:
    """Download the adapter as one zip: `PeftModel.from_pretrained` loads the unzipped folder."""
    found = artifacts.adapter(session, caller, job_id)
    name = f"{job_id}-adapter.zip"
    download = Download(found.key, found.num_bytes, found.sha256, name, "application/zip")
    return respond(request, storage, download)
