"""Fetching an allowed model from the hub at one commit: named files only, into our own cache."""

from pathlib import Path
from typing import Literal

import httpx2  # what huggingface_hub speaks with; it lets these errors through
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from app.core.errors import Invalid, Problem, Unavailable
from app.core.settings import Settings

_FILES = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
]
# Patterns match across slashes: this keeps out every folder, and `..` with them.
_NOT_FILES = ["*/*"]


class ModelUnavailable(Unavailable):
    code = "model_download_failed"


class ModelNotServed(Invalid):
    """The hub was reached and does not hand the model out; `errors` tells why."""

    code = "model_not_served"


def download(settings: Settings, name: str, commit: str) -> Path:
    """The folder of one commit, complete. Raises ModelUnavailable or ModelNotServed."""
    try:
        _ask(settings, name, commit)
        return _snapshot(settings, name, commit, is_offline=False)
    except RevisionNotFoundError:
        raise _not_served("model_revision", "revision_not_on_hub", f"no commit {commit}") from None
    except GatedRepoError:
        what = "access only for accounts that asked for it"
        raise _not_served("model", "model_access_denied", what, _TOKEN) from None
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:
            what = "no public model of that name"
            raise _not_served("model", "model_access_denied", what, _TOKEN) from None
        raise _not_served("model", "model_not_on_hub", "no model of that name") from None
    except HfHubHTTPError as error:
        raise _by_status(name, error) from None
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise _by_status(name, error.__cause__) from None
        raise _unreachable(name) from None
    except (httpx2.HTTPError, OSError) as error:
        raise _unreachable(name, type(error).__name__) from None


def find_downloaded(settings: Settings, name: str, commit: str) -> Path | None:
    """The folder of one commit, if all of it is here already. Asks nobody."""
    if not _cache(settings).is_dir():
        return None
    try:
        return _snapshot(settings, name, commit, is_offline=True)
    except LocalEntryNotFoundError:
        return None


_TOKEN = "Set TUNESMITH_HUB_TOKEN to a token of an account that may read it."


def _ask(settings: Settings, name: str, commit: str) -> None:
    """Fail in seconds: listing files, as the download does, retries for half a minute."""
    api = HfApi(endpoint=settings.hub_endpoint, token=_token(settings))
    api.model_info(name, revision=commit, timeout=10)


def _token(settings: Settings) -> str | Literal[False]:
    """False: never the token of whoever is logged in on this machine."""
    return settings.hub_token.get_secret_value() if settings.hub_token else False


def _snapshot(settings: Settings, name: str, commit: str, *, is_offline: bool) -> Path:
    found = snapshot_download(
        name,
        revision=commit,
        cache_dir=_cache(settings),
        allow_patterns=_FILES,
        ignore_patterns=_NOT_FILES,
        endpoint=settings.hub_endpoint,
        token=_token(settings),
        local_files_only=is_offline,
    )
    return Path(found)


def _cache(settings: Settings) -> Path:
    return settings.data_dir.absolute() / "hub"


def _by_status(name: str, error: HfHubHTTPError) -> ModelUnavailable | ModelNotServed:
    status = error.response.status_code
    if status in (401, 403):
        return _not_served("model", "model_access_denied", f"an answer of {status}", _TOKEN)
    if status == 404:
        return _not_served("model", "model_not_on_hub", "no such file or model")
    return _unreachable(name, f"it answered {status}")


def _not_served(field: str, code: str, what: str, hint: str = "") -> ModelNotServed:
    message = f"The hub has {what}."
    return ModelNotServed(message, errors=[Problem(f"/{field}", code, message, hint)])


def _unreachable(name: str, reason: str = "") -> ModelUnavailable:
    why = f" ({reason})" if reason else ""
    return ModelUnavailable(
        f"The hub could not be reached to download {name}{why}. Try again, or put the model's "
        "folder into MODELS_DIR (TUNESMITH_MODELS_DIR) and name that folder as the model."
    )
