"""Datasets from the hub: looked up at once, fetched and validated later, by the housekeeper."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.core.datasets import hub
from app.core.datasets.hub import Source, SplitRequest
from app.core.datasets.status import DatasetStatus
from app.core.db.models import Dataset, Json
from app.core.db.session import Sessions, transaction
from app.core.ids import new_id
from app.core.settings import Settings
from app.services import idempotency
from app.services.caller import Caller
from app.services.idempotency import Answer, Attempt


@dataclass(frozen=True)
class ImportRequest:
    split: SplitRequest
    name: str
    columns: dict[str, str] | None = None


def start(
    sessions: Sessions,
    caller: Caller,
    request: ImportRequest,
    *,
    settings: Settings,
    attempt: Attempt,
    render: Callable[[Dataset], Json],
) -> Answer:
    """Record what to fetch, pinned to a commit. No transaction is open during the request to the
    hub, and a repeat makes no new one. Raises HubRefused, TooLarge or HubUnavailable.
    """
    with transaction(sessions) as session:
        known = idempotency.known(session, caller, attempt)
    if known is not None:
        return known
    source = hub.resolve(settings, request.split)

    def make(session: Session) -> dict[str, Any]:
        return render(_record(session, caller, request, source))

    with transaction(sessions) as session:
        return idempotency.once(session, caller, attempt, lambda: make(session))


def _record(session: Session, caller: Caller, request: ImportRequest, source: Source) -> Dataset:
    dataset = Dataset(
        id=new_id("ds"),
        project_id=caller.project_id,
        owner_id=caller.owner_id,
        name=request.name,
        status=DatasetStatus.VALIDATING,
        format="auto",
        columns=request.columns,
        num_bytes=source.num_bytes,
        source=source.as_dict(),
    )
    session.add(dataset)
    session.flush()
    return dataset
