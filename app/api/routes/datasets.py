"""Datasets: upload, read, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, status
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from app.api.answers.downloads import Download, respond
from app.api.answers.replies import created
from app.api.deps import (
    AdaptersDep,
    CallerDep,
    CursorDep,
    IdempotencyKey,
    SessionDep,
    StorageDep,
)
from app.api.parameters import DatasetId, RowOffset
from app.api.requests.multipart import UPLOAD_BODY, receive_upload
from app.api.schemas.base import ListOf
from app.api.schemas.datasets import DatasetOut, RowsOut
from app.api.schemas.reports import ReportOut
from app.core.db.models import Dataset
from app.core.db.session import commit
from app.services import datasets
from app.services.pages import Page

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.post(
    "", status_code=status.HTTP_201_CREATED, response_model=DatasetOut, openapi_extra=UPLOAD_BODY
)
async def create_dataset(
    request: Request, adapters: AdaptersDep, caller: CallerDep, key: IdempotencyKey = None
) -> Response:
    """Upload training data: JSON, JSON Lines, CSV or Parquet whose rows hold instruction and
    output, prompt and completion, messages, ShareGPT conversations or text.

    Returns as soon as the file is stored. Validation follows: the dataset is `validating` until its
    report is available.
    """
    upload = await receive_upload(request, adapters)

    answer = await run_in_threadpool(
        datasets.register,
        adapters.sessions,
        adapters.storage,
        caller,
        upload,
        key=key,
        render=_out,
    )
    return created("/datasets", answer)


@router.get("")
def list_datasets(session: SessionDep, caller: CallerDep, cursor: CursorDep) -> ListOf[DatasetOut]:
    """List the datasets, newest first."""
    found: Page[Dataset] = datasets.page(session, caller, cursor)
    return ListOf[DatasetOut].model_validate(found, from_attributes=True)


@router.get("/{dataset_id}", response_model=DatasetOut)
def get_dataset(dataset_id: DatasetId, session: SessionDep, caller: CallerDep) -> Dataset:
    """Get a dataset: its status, size and columns."""
    return datasets.get(session, caller, dataset_id)


@router.delete("/{dataset_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_dataset(
    dataset_id: DatasetId, session: SessionDep, caller: CallerDep, storage: StorageDep
) -> None:
    """Delete a dataset and its files. 409 while a job that has not ended uses it; jobs that have
    ended keep its id.
    """
    datasets.delete(session, storage, caller, dataset_id)


@router.get("/{dataset_id}/report", response_model=ReportOut)
def get_dataset_report(
    dataset_id: DatasetId,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    validation: Annotated[
        str | None,
        Query(
            max_length=64,
            description="Id of a dataset to be held out: the report then has `overlap`, how much "
            "of it occurs in this one.",
        ),
    ] = None,
) -> Response:
    """Get what validation found: problems, duplicates, lengths, columns. 409 with `Retry-After`
    while the dataset is being validated.
    """
    dataset = datasets.validated(session, caller, dataset_id)
    body = datasets.report(adapters.storage, dataset)
    if validation is not None:
        other = datasets.validated(session, caller, validation)
        commit(session)
        body = datasets.with_overlap(body, adapters.overlaps.between(dataset, other))
    return StreamingResponse(body, media_type="application/json")


@router.get("/{dataset_id}/rows")
def list_dataset_rows(
    dataset_id: DatasetId,
    session: SessionDep,
    caller: CallerDep,
    storage: StorageDep,
    offset: RowOffset = 0,
    limit: Annotated[
        int, Query(ge=1, le=100, description="Maximum number of rows to return.")
    ] = 20,
) -> RowsOut:
    """List the valid rows in canonical form, as the trainer gets them."""
    dataset = datasets.validated(session, caller, dataset_id)
    # Skipping many rows takes a while: return the database connection first.
    commit(session)
    found = datasets.rows(storage, dataset, offset, limit)
    total = dataset.num_valid_rows or 0
    return RowsOut(data=found, offset=offset, num_rows=total, has_more=offset + len(found) < total)


@router.head("/{dataset_id}/content", include_in_schema=False)
@router.get("/{dataset_id}/content", response_class=StreamingResponse)
def get_dataset_content(
    dataset_id: DatasetId,
    request: Request,
    session: SessionDep,
    caller: CallerDep,
    storage: StorageDep,
    file: Annotated[
        int | None,
        Query(
            ge=0,
            le=1 << 40,
            description="Number of the file, counted from 0 as in `source.files`. Required for an "
            "import of several files.",
        ),
    ] = None,
) -> Response:
    """Download the data as it was uploaded or, of an import, one of its files."""
    found = datasets.content(datasets.get(session, caller, dataset_id), file)
    download = Download(
        key=found.key, num_bytes=found.num_bytes, sha256=found.digest, filename=found.name
    )
    return respond(request, storage, download)


def _out(dataset: Dataset) -> dict[str, Any]:
    return DatasetOut.model_validate(dataset).model_dump(mode="json")
