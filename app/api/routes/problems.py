"""Everything that is wrong with a dataset: in pages, or as one stream of lines."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from app.api.deps import CallerDep, SessionDep, StorageDep
from app.api.schemas.datasets import ProblemsOut
from app.core.db.session import commit
from app.services import datasets, problems
from app.services.problems import ProblemFilter

router = APIRouter(prefix="/datasets", tags=["datasets"])
_LINES = "application/x-ndjson"


@router.get("/{dataset_id}/problems", response_model=ProblemsOut)
def list_dataset_problems(
    dataset_id: str,
    request: Request,
    session: SessionDep,
    caller: CallerDep,
    storage: StorageDep,
    code: Annotated[str | None, Query(max_length=100)] = None,
    severity: Literal["error", "warning", "info"] | None = None,
    after: Annotated[int, Query(ge=0, le=1 << 40)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    form: Annotated[Literal["json", "jsonl"] | None, Query(alias="format")] = None,
) -> Response:
    """Every error and warning, in the order of the file; each kind of info once.

    `after` is the `n` of the last one seen. With `Accept: application/x-ndjson` or `format=jsonl`
    all of them come, a line each. A list that could not hold all ends in `problems_truncated`.
    """
    dataset = datasets.judged(session, caller, dataset_id)
    # Reading a long list takes a while: the connection goes back before it begins.
    commit(session)
    wanted = ProblemFilter(code, severity)
    vary = {"vary": "accept"}
    if form == "jsonl" or (form is None and _LINES in request.headers.get("accept", "")):
        lines = problems.stream(storage, dataset, wanted)
        return StreamingResponse(lines, headers=vary, media_type=_LINES)
    found = problems.page(storage, dataset, wanted, after, limit)
    body = ProblemsOut.model_validate(found).model_dump_json()
    return Response(body, headers=vary, media_type="application/json")
