"""The base models this server can train, by name. No path is ever built from a caller's string."""

import re
from difflib import get_close_matches
from pathlib import Path

from app.core.errors import Invalid, Problem
from app.core.models import hub
from app.core.models.folder import ModelInfo, inspect, problem
from app.core.settings import Settings

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class UnknownModel(Invalid):
    code = "model_unknown"


class ModelRefused(Invalid):
    code = "model_refused"

    def __init__(self, model: ModelInfo) -> None:
        reasons = " ".join(found.message for found in model.problems[:3])
        super().__init__(f"The model {model.id} is refused. {reasons}", errors=model.problems)


def list_models(settings: Settings) -> list[ModelInfo]:
    """Return local folders by name, then the allowed hub models; refused ones say why."""
    local = [inspect(name, path) for name, path in _local_folders(settings).items()]
    allowed = _allowed(settings)
    remote = [
        _look_up(settings, name, commit)
        for name, commits in allowed.items()
        for commit in _or_none(commits)
    ]
    bad = sorted(entry for entry in settings.allowed_models if not _parse_allowed(entry))
    message = "This entry of TUNESMITH_ALLOWED_MODELS is not `owner/name` or `owner/name@<commit>`."
    wrong = [
        ModelInfo(entry, None, None, problems=(problem("model_entry_invalid", message),))
        for entry in bad
    ]
    return local + remote + wrong


def find_model(settings: Settings, name: str, revision: str | None = None) -> ModelInfo:
    """Return the model a job names. Raises UnknownModel or ModelRefused."""
    folder = _local_folders(settings).get(name)
    if folder:
        if revision is not None:
            raise _wrong_revision("model_revision_not_allowed", "A local folder has no revision.")
        model = inspect(name, folder)
    else:
        model = _look_up(settings, name, _choose_commit(settings, name, revision))
    if model.problems:
        raise ModelRefused(model)
    return model


def fetch_model(settings: Settings, name: str, revision: str | None = None) -> Path:
    """Return the model's folder, downloaded if necessary, and checked.

    Raises what find_model raises, and ModelUnavailable or ModelNotServed.
    """
    model = find_model(settings, name, revision)
    if model.path:
        return model.path
    assert model.revision is not None
    path = hub.download(settings, name, model.revision)
    fetched = inspect(name, path, model.revision)
    if fetched.problems:
        raise ModelRefused(fetched)
    return path


def _or_none(commits: set[str]) -> list[str | None]:
    return [*sorted(commits)] or [None]


def _look_up(settings: Settings, name: str, commit: str | None) -> ModelInfo:
    path = hub.find_downloaded(settings, name, commit) if commit else None
    return inspect(name, path, commit) if path else ModelInfo(name, None, commit)


def _local_folders(settings: Settings) -> dict[str, Path]:
    if not settings.models_dir.is_dir():
        return {}
    folders = sorted(settings.models_dir.iterdir())
    return {f.name: f for f in folders if f.is_dir() and not f.name.startswith(".")}


def _allowed(settings: Settings) -> dict[str, set[str]]:
    """Return allowed commits by hub id; an empty set leaves the choice to the job."""
    allowed: dict[str, set[str]] = {}
    for entry in sorted(settings.allowed_models):
        if parsed := _parse_allowed(entry):
            name, commit = parsed
            allowed.setdefault(name, set()).update({commit} if commit else ())
    return allowed


def _parse_allowed(entry: str) -> tuple[str, str] | None:
    name, at, commit = entry.partition("@")
    is_sound = _HUB_ID.fullmatch(name) and ".." not in name
    return (name, commit) if is_sound and (not at or _COMMIT.fullmatch(commit)) else None


def _choose_commit(settings: Settings, name: str, revision: str | None) -> str:
    allowed = _allowed(settings)
    if name not in allowed:
        raise _unknown(settings, name)
    commits = allowed[name]
    if revision is None and len(commits) == 1:
        return next(iter(commits))
    if revision is None:
        message = f"Name the commit of {name} to train: 40 hexadecimal digits, not a branch."
        raise _wrong_revision("model_revision_required", message)
    if not _COMMIT.fullmatch(revision):
        message = "`model_revision` is a commit: 40 hexadecimal digits, not a branch or a tag."
        raise _wrong_revision("model_revision_required", message)
    if commits and revision not in commits:
        message = f"This server allows {name} at {', '.join(sorted(commits))} only."
        raise _wrong_revision("model_revision_not_allowed", message)
    return revision


def _wrong_revision(code: str, message: str) -> Invalid:
    return Invalid(message, errors=[Problem("/model_revision", code, message)])


def _unknown(settings: Settings, name: str) -> UnknownModel:
    shown = ascii(name[:120])[1:-1]
    known = [*_local_folders(settings), *_allowed(settings)]
    near = get_close_matches(name[:200], known, n=3, cutoff=0.5)
    message = f"This server has no model `{shown}`."
    if _HUB_ID.fullmatch(name):
        message = f"`{shown}` is not on this server's list of hub models."
        hint = (
            f"The operator can allow it with TUNESMITH_ALLOWED_MODELS='[\"{shown}@<commit>\"]', or "
            "put its folder into MODELS_DIR."
        )
    else:
        hint = "GET /models lists them; a folder in MODELS_DIR becomes a model of that name."
    if near:
        hint = f"Did you mean {' or '.join(f'`{other}`' for other in near)}? {hint}"
    found = Problem("/model", "model_unknown", message, hint)
    return UnknownModel(f"{message} {hint}", errors=[found])
