"""Import of datasets from the hub."""

import hashlib
from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, status
from fastapi.responses import Response

from app.api.answers.replies import created
from app.api.deps import AdaptersDep, CallerDep, IdempotencyKey
from app.api.requests.body import JsonRoute
from app.api.requests.columns import check_columns
from app.api.schemas.datasets import DatasetOut
from app.api.schemas.imports import ImportSpec
from app.core.datasets.hub import SplitRequest
from app.core.db.models import Dataset
from app.services import imports
from app.services.idempotency import Attempt
from app.services.imports import ImportRequest

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=JsonRoute)


@router.post("/import", status_code=status.HTTP_201_CREATED, response_model=DatasetOut)
async def import_dataset(
    spec: ImportSpec, adapters: AdaptersDep, caller: CallerDep, key: IdempotencyKey = None
) -> Response:
    """Import one split of a dataset on the Hugging Face Hub, pinned to a commit and to the hash of
    each file.

    Returns within seconds, once the hub has listed the files; they are then downloaded and
    validated. 503 if the hub cannot be reached.
    """
    source = spec.source
    columns = None if spec.columns is None else check_columns(spec.columns)
    split = SplitRequest(source.repo, source.split, source.revision, source.config)
    body_sha256 = hashlib.sha256(spec.model_dump_json().encode()).hexdigest()
    work = partial(
        imports.start,
        adapters.sessions,
        caller,
        ImportRequest(split, spec.name or source.repo, columns),
        settings=adapters.settings,
        attempt=Attempt("POST /datasets/import", key, body_sha256),
        render=_out,
    )
    # On the limiter of uploads, so that a hub that hangs does not occupy other requests' threads.
    answer = await to_thread.run_sync(work, limiter=adapters.uploads)
    return created("/datasets", answer)


def _out(dataset: Dataset) -> dict[str, Any]:
    return DatasetOut.model_validate(dataset).model_dump(mode="json")
