"""Rows as the trainer will see them: JSON for programs, marked text for a terminal."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from app.api.answers import marked
from app.api.deps import AdaptersDep, CallerDep, SessionDep
from app.api.schemas.datasets import PreviewOut
from app.services import preview

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.get("/{dataset_id}/preview", response_model=PreviewOut)
def get_dataset_preview(
    dataset_id: str,
    request: Request,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    model: Annotated[str, Query(min_length=1, max_length=200)],
    model_revision: Annotated[str | None, Query(pattern=r"^[0-9a-f]{40}$")] = None,
    template: Annotated[str, Query(min_length=1, max_length=200)] = "alpaca",
    train_on: Literal["completion", "all"] | None = None,
    max_length: Annotated[int | None, Query(ge=8, le=1 << 20)] = None,
    packing: bool = True,
    rows: Annotated[str | None, Query(pattern=r"^\d{1,12}(,\d{1,12}){0,99}$")] = None,
    offset: Annotated[int, Query(ge=0, le=1 << 40)] = 0,
    n: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Response:
    """Text, tokens and loss mask of `n` rows from `offset`, or of those that `rows` names
    (`rows=3,17`). What is left out is as a job has it. With `Accept: text/plain`, as a text in
    which the trained parts are marked.
    """
    asked = preview.PreviewRequest(
        model=model,
        revision=model_revision,
        template=template,
        train_on=train_on,
        max_length=max_length,
        packing=packing,
        offset=offset,
        n=n,
        rows=tuple(map(int, rows.split(","))) if rows else None,
    )
    shown = preview.show(
        session,
        caller,
        dataset_id,
        asked,
        settings=adapters.settings,
        storage=adapters.storage,
        previews=adapters.previews,
    )
    told = PreviewOut.model_validate(shown)
    vary = {"vary": "accept"}
    if request.headers.get("accept", "").startswith("text/plain"):
        return PlainTextResponse(marked.preview(told), headers=vary)
    return Response(told.model_dump_json(), headers=vary, media_type="application/json")
