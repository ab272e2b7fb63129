"""Preview of rows as the trainer will see them: as JSON, or as marked text for a terminal."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from app.api.answers import marked
from app.api.deps import AdaptersDep, CallerDep, SessionDep
from app.api.parameters import DatasetId, ModelName, ModelRevision, RowOffset, TemplateName
from app.api.schemas.preview import PreviewOut
from app.services import preview

router = APIRouter(prefix="/datasets", tags=["datasets"])

TrainOn = Annotated[
    Literal["completion", "all"] | None,
    Query(
        description="Tokens that count in the loss: `completion` only the answers, `all` the "
        "prompts, too. Default: `completion`, or `all` with template `text`."
    ),
]
MaxLength = Annotated[
    int | None,
    Query(
        ge=8,
        le=1 << 20,
        description="Tokens at which a row is split or truncated. Default: 1,024, or what the "
        "model takes if that is less.",
    ),
]
Packing = Annotated[
    bool,
    Query(
        description="Whether the job packs rows. Long rows are then split, else truncated, unless "
        "`on_long_row` says otherwise."
    ),
]
OnLongRow = Annotated[
    Literal["split", "truncate", "drop"] | None,
    Query(
        description="What becomes of rows longer than `max_length`, as in a job: `split`, "
        "`truncate` or `drop`. Default: `split` with `packing`, `truncate` without."
    ),
]
RowNumbers = Annotated[
    str | None,
    Query(
        pattern=r"^\d{1,12}(,\d{1,12}){0,99}$",
        description="Numbers of the rows, comma-separated, as in `3,17`; valid rows are "
        "numbered from 0. Replaces `offset` and `n`.",
    ),
]
NumRows = Annotated[int, Query(ge=1, le=100, description="Number of rows from `offset` on.")]


@router.get("/{dataset_id}/preview", response_model=PreviewOut)
def get_dataset_preview(
    dataset_id: DatasetId,
    request: Request,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    model: ModelName,
    model_revision: ModelRevision = None,
    template: TemplateName = "alpaca",
    train_on: TrainOn = None,
    max_length: MaxLength = None,
    packing: Packing = True,
    on_long_row: OnLongRow = None,
    rows: RowNumbers = None,
    offset: RowOffset = 0,
    n: NumRows = 10,
) -> Response:
    """Get rows as the trainer will see them: text, tokens and loss mask. With `Accept: text/plain`,
    as text in which the trained parts are marked.
    """
    query = preview.PreviewRequest(
        model=model,
        revision=model_revision,
        template=template,
        train_on=train_on,
        max_length=max_length,
        packing=packing,
        on_long_row=on_long_row,
        offset=offset,
        n=n,
        rows=tuple(map(int, rows.split(","))) if rows else None,
    )
    shown = preview.show(
        session,
        caller,
        dataset_id,
        query,
        settings=adapters.settings,
        storage=adapters.storage,
        previews=adapters.previews,
    )
    payload = PreviewOut.model_validate(shown)
    vary = {"vary": "accept"}
    if request.headers.get("accept", "").startswith("text/plain"):
        return PlainTextResponse(marked.preview(payload), headers=vary)
    return Response(payload.model_dump_json(), headers=vary, media_type="application/json")
