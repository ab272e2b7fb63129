"""What a succeeded job left: the manifest, each file, and the adapter as one zip."""

from pathlib import PurePosixPath

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from app.api.answers.downloads import Download, respond
from app.api.deps import CallerDep, SessionDep, StorageDep
from app.api.schemas.artifacts import ManifestOut
from app.services import artifacts

router = APIRouter(prefix="/jobs/{job_id}", tags=["artifacts"])


@router.get("/artifacts")
def list_job_artifacts(job_id: str, session: SessionDep, caller: CallerDep) -> ManifestOut:
    """409 until the job has succeeded."""
    found = artifacts.manifest(session, caller, job_id)
    told = {"job": job_id, "files": found["files"], "adapter": found.get("zip")}
    return ManifestOut.model_validate(told)


@router.head("/artifacts/{path:path}", include_in_schema=False)
@router.get("/artifacts/{path:path}", response_class=StreamingResponse)
def get_job_artifact(
    job_id: str,
    path: str,
    request: Request,
    session: SessionDep,
    caller: CallerDep,
    storage: StorageDep,
) -> Response:
    """One file of the manifest. `ETag` is its sha256; `Range` and `If-Range` work."""
    found = artifacts.file(session, caller, job_id, path)
    name = PurePosixPath(path).name
    return respond(request, storage, Download(found.key, found.num_bytes, found.sha256, name))


@router.head("/adapter", include_in_schema=False)
@router.get("/adapter", response_class=StreamingResponse)
def get_job_adapter(
    job_id: str, request: Request, session: SessionDep, caller: CallerDep, storage: StorageDep
) -> Response:
    """The adapter as one zip: unzip it and hand the folder to `PeftModel.from_pretrained`."""
    found = artifacts.adapter(session, caller, job_id)
    name = f"{job_id}-adapter.zip"
    download = Download(found.key, found.num_bytes, found.sha256, name, "application/zip")
    return respond(request, storage, download)
