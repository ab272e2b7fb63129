"""Token lengths of a dataset's rows for a model, and the effect of a `max_length`."""

from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.core.db.models import Dataset
from app.core.db.session import commit
from app.core.errors import Conflict, Problem
from app.core.models import ModelInfo, find_model
from app.core.settings import Settings
from app.core.templates import registry
from app.services import datasets
from app.services.caller import Caller
from app.services.checks import TemplateUnfit, misfit
from app.services.counting.lengths import LengthsRequest, TokenLengths


class ModelNotFetched(Conflict):
    code = "model_not_fetched"


def describe(
    session: Session,
    caller: Caller,
    dataset_id: str,
    *,
    settings: Settings,
    measures: TokenLengths,
    model: str,
    revision: str | None,
    template: str,
    train_on: str,
    max_length: int,
) -> dict[str, Any]:
    """Answer GET /datasets/{id}/lengths. Releases the connection before counting."""
    dataset = datasets.validated(session, caller, dataset_id)
    base = find_model(settings, model, revision)
    rendering = registry.find(settings.templates_dir, template, "?template")
    check_template(dataset, base, template)
    request = LengthsRequest(
        dataset.id,
        datasets.fingerprint(dataset),
        path_of(base),
        template,
        rendering.chat_template,
        train_on,
    )
    commit(session)
    # Imported here: an API that counts nothing need not load numpy.
    from app.core.datasets.tokens import lengths

    found = lengths.describe(measures.of(request), max_length)
    return {"dataset": dataset_id, "model": base.id, "template": template, **found}


def path_of(base: ModelInfo) -> Path:
    if base.path is None:
        raise ModelNotFetched(
            f"The files of {base.id!r} are not fetched yet: the first job that uses it fetches "
            "them.",
            current="remote",
            allowed=[],
        )
    return base.path


def check_template(dataset: Dataset, base: ModelInfo, template: str) -> None:
    message: str | None = ""
    if template == "chat" and base.has_chat_template is False:
        message = f"{base.id!r} has no chat template."
    elif dataset.features is not None:
        message = misfit(dataset, template)
    if message:
        problem = Problem("?template", TemplateUnfit.code, message, "Name another template.")
        raise TemplateUnfit(message, errors=[problem])
