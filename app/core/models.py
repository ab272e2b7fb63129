"""Base models: stand-in until branch `datasets` is merged; the interface is theirs."""

from dataclasses import dataclass
from pathlib import Path

from app.core.errors import NotFound
from app.core.settings import Settings


class ModelNotFound(NotFound):
    code = "model_not_found"


@dataclass(frozen=True)
class ModelInfo:
    id: str
    path: Path | None
    revision: str | None = None


def find_model(settings: Settings, name: str, revision: str | None = None) -> ModelInfo:
    folder = settings.models_dir.absolute() / name
    if "/" in name or not folder.is_dir():
        raise ModelNotFound(f"No base model {name!r}.")
    return ModelInfo(name, folder, revision)


def fetch_model(settings: Settings, name: str, revision: str | None = None) -> Path:
    info = find_model(settings, name, revision)
    assert info.path is not None
    return info.path
