"""Rows that two datasets have in common: a training and a validation set should have none."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.deps import AdaptersDep, CallerDep, SessionDep
from app.api.parameters import DatasetId
from app.api.schemas.reports import OverlapOut
from app.core.db.session import commit
from app.services import datasets

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.get("/{dataset_id}/overlap")
def get_dataset_overlap(
    dataset_id: DatasetId,
    session: SessionDep,
    adapters: AdaptersDep,
    caller: CallerDep,
    other: Annotated[
        str,
        Query(
            alias="with",
            min_length=1,
            max_length=64,
            description="Id of the other dataset, usually the one to be held out.",
        ),
    ],
) -> OverlapOut:
    """Count the rows of another dataset that occur in this one, exactly and by prompt.

    409 with `Retry-After` while the datasets are being compared; repeat the request.
    """
    first = datasets.validated(session, caller, dataset_id)
    second = datasets.validated(session, caller, other)
    commit(session)
    return OverlapOut.model_validate(adapters.overlaps.between(first, second))
