"""Lengths of a dataset's rows: as JSON, or plotted as SVG or PNG."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.api.answers import plots
from app.api.deps import AdaptersDep, CallerDep, SessionDep
from app.api.parameters import DatasetId, ModelName, ModelRevision, TemplateName
from app.api.schemas.lengths import LengthsOut
from app.services import lengths

router = APIRouter(prefix="/datasets", tags=["datasets"])
_PICTURES: dict[str, plots.Kind] = {"image/svg+xml": "svg", "image/png": "png"}


@router.get("/{dataset_id}/lengths", response_model=LengthsOut)
def get_dataset_lengths(
    dataset_id: DatasetId,
    request: Request,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    model: ModelName,
    model_revision: ModelRevision = None,
    template: TemplateName = "alpaca",
    max_length: Annotated[
        int, Query(ge=8, le=1 << 20, description="Tokens per row to compare the rows with.")
    ] = 1024,
) -> Response:
    """Get the lengths of the rows in tokens and in characters, and what `max_length` would lose.
    With `Accept: image/svg+xml` or `image/png`, returns a plot of their histograms.

    409 with `Retry-After` while the tokens are being counted; repeat the request.
    """
    found = lengths.describe(
        session,
        caller,
        dataset_id,
        settings=adapters.settings,
        measures=adapters.measures,
        model=model,
        revision=model_revision,
        template=template,
        train_on="all" if template == "text" else "completion",
        max_length=max_length,
    )
    kind = _picture(request.headers.get("accept", ""))
    vary = {"vary": "accept"}
    if kind is None:
        return Response(
            LengthsOut.model_validate(found).model_dump_json(),
            headers=vary,
            media_type="application/json",
        )
    title = f"{dataset_id} - {model} - {template}"
    drawn = plots.draw_lengths(found, title, kind)
    media = next(name for name, each in _PICTURES.items() if each == kind)
    return Response(drawn, headers=vary, media_type=media)


def _picture(accept: str) -> plots.Kind | None:
    """Return the first image type in an Accept header, unless JSON comes before it."""
    for part in accept.split(","):
        name = part.partition(";")[0].strip().lower()
        if name in _PICTURES:
            return _PICTURES[name]
        if name == "application/json":
            return None
    return None
