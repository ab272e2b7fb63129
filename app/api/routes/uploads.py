"""Uploads in parts: announce, send, resume, complete."""

import base64
import binascii
import hashlib
import re
from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Path, Request, status
from fastapi.responses import Response

from app.api.answers.replies import created
from app.api.deps import AdaptersDep, CallerDep, IdempotencyKey, SessionDep, StorageDep
from app.api.parameters import UploadId
from app.api.requests.body import JsonRoute
from app.api.requests.columns import check_columns
from app.api.requests.incoming import RawBody, pulled
from app.api.schemas.datasets import DatasetOut
from app.api.schemas.uploads import PartOut, UploadOut, UploadSpec
from app.core.db.models import Dataset
from app.core.db.session import after_commit, commit
from app.core.errors import Invalid, Problem
from app.services import idempotency, partial_uploads, parts
from app.services.partial_uploads import Announced
from app.services.parts import Part

router = APIRouter(prefix="/datasets/uploads", tags=["uploads"], route_class=JsonRoute)
PART_BODY = {
    "requestBody": {
        "required": True,
        "description": "Bytes of the part.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def get_digest(
    given: Annotated[
        str | None,
        Header(
            alias="Content-Digest",
            description="SHA-256 of the part as in RFC 9530, `sha-256=:<base64>:`. A part that "
            "does not match is rejected.",
        ),
    ] = None,
) -> str | None:
    """Return the SHA-256 in hexadecimal. Raises Invalid if the header has no usable digest."""
    if given is None:
        return None
    found = re.search(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]+):\s*(?:,|$)", given)
    try:
        digest = base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        hint = "Write `sha-256=:<base64 of the digest>:`, or omit the header."
        at = Problem("header:Content-Digest", "wrong_format", "It has no sha-256 digest.", hint)
        raise Invalid("The header Content-Digest cannot be parsed.", errors=[at])
    return digest.hex()


@router.post("", status_code=status.HTTP_201_CREATED, response_model=UploadOut)
def create_upload(
    spec: UploadSpec,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    key: IdempotencyKey = None,
) -> Response:
    """Announce a file to be uploaded in parts. It is not a dataset until the upload is complete."""
    columns = None if spec.columns is None else check_columns(spec.columns)
    announced = Announced(spec.name, spec.format, spec.num_bytes, spec.sha256.lower(), columns)

    def make() -> dict[str, Any]:
        upload = partial_uploads.create(session, caller, adapters.settings, announced)
        return UploadOut.of(upload, []).model_dump(mode="json")

    body_sha256 = hashlib.sha256(spec.model_dump_json().encode()).hexdigest()
    attempt = idempotency.Attempt("POST /datasets/uploads", key, body_sha256)
    return created("/datasets/uploads", idempotency.once(session, caller, attempt, make))


@router.get("/{upload_id}")
def get_upload(
    upload_id: UploadId, session: SessionDep, caller: CallerDep, storage: StorageDep
) -> UploadOut:
    """Get an upload and the parts that have arrived, to resume it after an interruption."""
    upload = partial_uploads.get(session, caller, upload_id)
    commit(session)
    is_open = upload.dataset_id is None
    return UploadOut.of(upload, parts.arrived(storage, upload_id) if is_open else [])


@router.put("/{upload_id}/parts/{number}", response_model=PartOut, openapi_extra=PART_BODY)
async def put_upload_part(
    upload_id: UploadId,
    number: Annotated[
        int,
        Path(
            ge=1,
            le=parts.MAX_NUMBER,
            description="Number of the part, from 1. The parts are combined in this order.",
        ),
    ],
    request: Request,
    adapters: AdaptersDep,
    caller: CallerDep,
    digest: Annotated[str | None, Depends(get_digest)],
) -> Part:
    """Upload one part as the request body, in any order. Repeating a number replaces that part."""
    store = partial(
        partial_uploads.put_part,
        adapters.sessions,
        adapters.storage,
        caller,
        upload_id,
        number=number,
        chunks=pulled(RawBody(request).next_chunk),
        sha256=digest,
    )
    return await to_thread.run_sync(store, limiter=adapters.uploads)


@router.post(
    "/{upload_id}/complete", status_code=status.HTTP_201_CREATED, response_model=DatasetOut
)
async def complete_upload(
    upload_id: UploadId, adapters: AdaptersDep, caller: CallerDep
) -> Response:
    """Combine the parts, ordered by number, into a dataset. Repeated calls return the same dataset.

    409 while parts are missing; 422 if size or hash differ from those announced. In both cases the
    parts remain and can be replaced.
    """
    work = partial(
        partial_uploads.complete,
        adapters.sessions,
        adapters.storage,
        caller,
        upload_id,
        under_way=adapters.completing,
        render=_out,
    )
    return created("/datasets", await to_thread.run_sync(work, limiter=adapters.uploads))


@router.delete("/{upload_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_upload(
    upload_id: UploadId, session: SessionDep, caller: CallerDep, storage: StorageDep
) -> None:
    """Delete an upload and its parts. A dataset created from it remains."""
    partial_uploads.drop(session, caller, upload_id)
    after_commit(session, lambda: partial_uploads.sweep(storage, upload_id))


def _out(dataset: Dataset) -> dict[str, Any]:
    return DatasetOut.model_validate(dataset).model_dump(mode="json")
