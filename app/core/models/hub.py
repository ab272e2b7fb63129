"""Downloads an allowed model from the hub at one commit: listed files only, into our own cache."""

from pathlib import Path
from typing import Literal

import httpx2  # huggingface_hub's HTTP client, whose errors it does not wrap
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
# Patterns match across slashes: this excludes every subfolder, and so every `..`.
_NOT_FILES = ["*/*"]


class ModelUnavailable(Unavailable):
    code = "model_download_failed"


class ModelNotServed(Invalid):
    """The hub was reached but does not serve the model; `errors` says why."""

    code = "model_not_served"


def download(settings: Settings, name: str, commit: str) -> Path:
    """Download one commit and return its folder. Raises ModelUnavailable or ModelNotServed."""
    try:
        _check_access(settings, name, commit)
        return _snapshot(settings, name, commit, is_offline=False)
    except RevisionNotFoundError:
        message = f"The hub has no commit {commit}."
        raise _not_served("model_revision", "revision_not_on_hub", message) from None
    except GatedRepoError:
        message = "The hub serves this model only to accounts that were granted access."
        raise _not_served("model", "model_access_denied", message, _TOKEN) from None
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:
            message = "The hub has no public model of that name."
            raise _not_served("model", "model_access_denied", message, _TOKEN) from None
        message = "The hub has no model of that name."
        raise _not_served("model", "model_not_on_hub", message) from None
    except HfHubHTTPError as error:
        raise _by_status(name, error) from None
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise _by_status(name, error.__cause__) from None
        raise _unreachable(name) from None
    except (httpx2.HTTPError, OSError) as error:
        raise _unreachable(name, type(error).__name__) from None


def find_downloaded(settings: Settings, name: str, commit: str) -> Path | None:
    """Return the folder of one commit, or None unless all of it is here. Makes no request."""
    if not _cache(settings).is_dir():
        return None
    try:
        return _snapshot(settings, name, commit, is_offline=True)
    except LocalEntryNotFoundError:
        return None


_TOKEN = "Set TUNESMITH_HUB_TOKEN to a token of an account that may read it."


def _check_access(settings: Settings, name: str, commit: str) -> None:
    """Fail within seconds: the file listing of a download would retry for half a minute."""
    api = HfApi(endpoint=settings.hub_endpoint, token=_token(settings))
    api.model_info(name, revision=commit, timeout=10)


def _token(settings: Settings) -> str | Literal[False]:
    """Return our token, or False: never the token of a user logged in on this machine."""
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
        message = f"The hub denied access with status {status}."
        return _not_served("model", "model_access_denied", message, _TOKEN)
    if status == 404:
        return _not_served("model", "model_not_on_hub", "The hub has no such file or model.")
    return _unreachable(name, f"it answered {status}")


def _not_served(field: str, code: str, message: str, hint: str = "") -> ModelNotServed:
    return ModelNotServed(message, errors=[Problem(f"/{field}", code, message, hint)])


def _unreachable(name: str, reason: str = "") -> ModelUnavailable:
    why = f" ({reason})" if reason else ""
    return ModelUnavailable(
        f"The hub could not be reached to download {name}{why}. Try again, or put the model's "
        "folder into MODELS_DIR (TUNESMITH_MODELS_DIR) and name that folder as the model."
    )
