"""What of one dataset stands in another: of a validation set, nothing should."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.deps import AdaptersDep, CallerDep, SessionDep
from app.api.schemas.datasets import OverlapOut
from app.core.db.session import commit
from app.services import datasets

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.get("/{dataset_id}/overlap")
def get_dataset_overlap(
    dataset_id: str,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    other: Annotated[str, Query(alias="with", min_length=1, max_length=64)],
) -> OverlapOut:
    """How many rows of another dataset stand in this one: word for word, and by their prompts.

    409 with Retry-After while they are being compared; asked again, the answer is there.
    """
    first = datasets.judged(session, caller, dataset_id)
    second = datasets.judged(session, caller, other)
    commit(session)
    return OverlapOut.model_validate(adapters.overlaps.between(first, second))
