"""The base models this server can train: folders in the Hugging Face layout."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from app.core.errors import Invalid, Problem
from app.core.settings import Settings


@dataclass(frozen=True)
class ModelInfo:
    id: str
    path: Path | None
    revision: str | None
    num_parameters: int | None
    max_length: int | None
    vocab_size: int | None
    architecture: str | None
    problems: tuple[Problem, ...] = ()
    """Why it may not be trained; empty when it may."""


class UnknownModel(Invalid):
    code = "model_unknown"

    def __init__(self, name: str, known: list[str]) -> None:
        near = get_close_matches(name, known, 1)
        hint = f'Did you mean "{near[0]}"?' if near else "GET /models lists them."
        super().__init__(
            f"No base model {name!r}. {hint}",
            errors=[Problem("/model", self.code, f"No base model {name!r}.", hint)],
        )


class ModelRefused(Invalid):
    code = "model_refused"


def list_models(settings: Settings) -> list[ModelInfo]:
    return list(_local(settings.models_dir))


def find_model(settings: Settings, name: str, revision: str | None = None) -> ModelInfo:
    """Raises UnknownModel, or ModelRefused for one that may not be trained."""
    known = {model.id: model for model in list_models(settings)}
    found = known.get(name)
    if found is None:
        raise UnknownModel(name, list(known))
    if found.problems:
        raise ModelRefused(f"Model {name!r} cannot be trained here.", errors=found.problems)
    return found


def _local(folder: Path) -> Iterator[ModelInfo]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if (path / "config.json").is_file():
            config: dict[str, Any] = json.loads((path / "config.json").read_text("utf-8"))
            yield ModelInfo(
                id=path.name,
                path=path,
                revision=None,
                num_parameters=None,
                max_length=config.get("max_position_embeddings"),
                vocab_size=config.get("vocab_size"),
                architecture=next(iter(config.get("architectures") or []), None),
            )
