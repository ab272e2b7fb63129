"""Problems that validation found in a dataset: in pages, or streamed as JSON Lines."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from app.api.deps import CallerDep, SessionDep, StorageDep
from app.api.parameters import DatasetId
from app.api.schemas.reports import ProblemsOut
from app.core.db.session import commit
from app.services import datasets, problems
from app.services.problems import ProblemFilter

router = APIRouter(prefix="/datasets", tags=["datasets"])
_LINES = "application/x-ndjson"

ProblemCode = Annotated[
    str | None,
    Query(max_length=100, description="Code of the problems to list. Default: all."),
]
Severity = Annotated[
    Literal["error", "warning", "info"] | None,
    Query(description="Severity of the problems to list. Default: all."),
]
After = Annotated[
    int,
    Query(ge=0, le=1 << 40, description="`n` of the last entry of the page before this one."),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="Maximum number of entries to return.")]
Form = Annotated[
    Literal["json", "jsonl"] | None,
    Query(
        alias="format",
        description="`jsonl` answers with the whole list, a line of JSON each, as "
        "`Accept: application/x-ndjson` does; `json` with a page.",
    ),
]


@router.get("/{dataset_id}/problems", response_model=ProblemsOut)
def list_dataset_problems(
    dataset_id: DatasetId,
    request: Request,
    session: SessionDep,
    caller: CallerDep,
    storage: StorageDep,
    code: ProblemCode = None,
    severity: Severity = None,
    after: After = 0,
    limit: Limit = 100,
    form: Form = None,
) -> Response:
    """List every error and warning that validation found, in the order of the file; an info is
    listed once for each column.

    With `Accept: application/x-ndjson` or `format=jsonl`, returns the whole list as JSON Lines.
    A list that was truncated at 1 GiB ends with an entry `problems_truncated`.
    """
    dataset = datasets.validated(session, caller, dataset_id)
    # Reading a long list takes a while: return the database connection first.
    commit(session)
    query = ProblemFilter(code, severity)
    vary = {"vary": "accept"}
    if form == "jsonl" or (form is None and _LINES in request.headers.get("accept", "")):
        lines = problems.stream(storage, dataset, query)
        return StreamingResponse(lines, headers=vary, media_type=_LINES)
    found = problems.page(storage, dataset, query, after, limit)
    body = ProblemsOut.model_validate(found).model_dump_json()
    return Response(body, headers=vary, media_type="application/json")
