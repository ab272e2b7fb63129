"""Import datasets from the hub at one commit: data files only, verified by size and hash.

`resolve` finds the files of a split, `fetch` downloads one. Code in a repository is never run.
"""

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import httpx2  # the HTTP client of huggingface_hub, which does not wrap its errors
from huggingface_hub import HfApi, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import DatasetInfo, RepoSibling

from app.core.datasets import hub_files
from app.core.datasets.hub_files import HubRefused
from app.core.errors import TooLarge, Unavailable
from app.core.settings import Settings

_PART = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
REPO = rf"{_PART}/{_PART}"
NAME = r"\w[\w.-]{0,99}"
"""Pattern of the name of a split or a config."""
REVISION = r"[A-Za-z0-9][A-Za-z0-9_./-]{0,199}"
_COMMIT = r"[0-9a-f]{40}"
PATIENCE_SECONDS = 60.0
_SLOWEST_BYTES = 200_000.0
"""Lowest accepted bytes per second; a slower hub counts as unavailable."""
_TOKEN = "Set TUNESMITH_HUB_TOKEN to the token of an account that has access."


class HubUnavailable(Unavailable):
    code = "hub_unavailable"


class HubFileWrong(Exception):
    """A downloaded file does not have the size or hash that the hub announced."""


@dataclass(frozen=True)
class SplitRequest:
    repo: str
    split: str = "train"
    revision: str | None = None
    """A branch, a tag or a commit; None means the main branch."""
    config: str | None = None


@dataclass(frozen=True)
class File:
    path: str
    bytes: int
    digest: str
    """`sha256:` and the hash of the content, or `git:` and the SHA-1 of the git blob."""


@dataclass(frozen=True)
class Source:
    """A split at one commit, with the size and hash of each file."""

    repo: str
    config: str | None
    split: str
    revision: str
    license: str | None
    files: tuple[File, ...]
    type: Literal["hub"] = "hub"

    @property
    def num_bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "files": [asdict(file) for file in self.files]}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Source":
        return cls(**{**stored, "files": tuple(File(**file) for file in stored["files"])})


def resolve(settings: Settings, request: SplitRequest) -> Source:
    """Return what an import fetches. Raises HubRefused, TooLarge or HubUnavailable in seconds."""
    _check(request)
    with _hub_errors(request.repo):
        api = HfApi(endpoint=settings.hub_endpoint, token=_token(settings))
        info = api.dataset_info(
            request.repo, revision=request.revision or "main", files_metadata=True, timeout=10
        )
        source = _source(request, info)
    if source.num_bytes > settings.max_upload_bytes:
        size = f"The split has {source.num_bytes:,} bytes"
        raise TooLarge(f"{size}; this server accepts at most {settings.max_upload_bytes:,}.")
    return source


def fetch(
    settings: Settings,
    source: Source,
    file: File,
    target: Path,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Download one file and verify it. Raises HubFileWrong, HubRefused or HubUnavailable."""
    url = hf_hub_url(
        source.repo,
        file.path,
        repo_type="dataset",
        revision=source.revision,
        endpoint=settings.hub_endpoint,
    )
    # A compressed response could be small and still expand to an endless file.
    headers = {"Accept-Encoding": "identity"}
    if token := _token(settings):
        headers["Authorization"] = f"Bearer {token}"
    with (
        _hub_errors(source.repo),
        get_session().stream("GET", url, headers=headers, timeout=30) as answer,
    ):
        hf_raise_for_status(answer)
        # Raw chunks as they arrive: with buffering, a trickle would escape the deadline.
        seconds = patience_seconds + file.bytes / _SLOWEST_BYTES
        _store(_in_time(answer.iter_raw(), seconds, file.path), file, target)


def _in_time(chunks: Iterator[bytes], seconds: float, path: str) -> Iterator[bytes]:
    over = time.monotonic() + seconds
    for chunk in chunks:
        if time.monotonic() > over:
            raise HubUnavailable(f"{path} was not downloaded within {seconds:.0f} s. Try again.")
        yield chunk


def _store(chunks: Iterator[bytes], file: File, target: Path) -> None:
    kind, _, expected = file.digest.partition(":")
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % file.bytes)
    length = 0
    with target.open("wb") as out:
        for chunk in chunks:
            length += len(chunk)
            if length > file.bytes:
                break
            digest.update(chunk)
            out.write(chunk)
    if length != file.bytes:
        raise HubFileWrong(f"{file.path} does not have the {file.bytes:,} bytes the hub announced.")
    if digest.hexdigest() != expected:
        raise HubFileWrong(f"{file.path} does not have the hash the hub announced.")


def _check(request: SplitRequest) -> None:
    rules = {"repo": REPO, "split": NAME, "config": NAME, "revision": REVISION}
    for field, rule in rules.items():
        value = getattr(request, field)
        if value is not None and (not re.fullmatch(rule, value, re.ASCII) or ".." in value):
            hint = "A repository is `owner/name`." if field == "repo" else ""
            message = f"This is not a valid {field} name on the hub."
            raise HubRefused(field, f"hub_{field}_invalid", message, hint)


def _source(request: SplitRequest, info: DatasetInfo) -> Source:
    card: dict[str, Any] = vars(info.card_data) if info.card_data else {}
    listed = {file.rfilename: file for file in info.siblings or ()}
    config, names = hub_files.choose(card, sorted(listed), request.config, request.split)
    is_commit = re.fullmatch(_COMMIT, request.revision or "")
    if not re.fullmatch(_COMMIT, info.sha or "") or (is_commit and info.sha != request.revision):
        raise ValueError("no commit hash, or a different one")
    return Source(
        repo=request.repo,
        config=config,
        split=request.split,
        revision=str(info.sha),
        license=_license(card.get("license")),
        files=tuple(_file(listed[name]) for name in names),
    )


def _file(listed: RepoSibling) -> File:
    digest = f"sha256:{listed.lfs.sha256}" if listed.lfs else f"git:{listed.blob_id}"
    is_sound = re.fullmatch(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", digest)
    if not is_sound or not isinstance(listed.size, int) or listed.size < 0:
        raise ValueError("a file without a size or hash")
    return File(listed.rfilename, listed.size, digest)


def _license(stated: Any) -> str | None:
    listed = stated if isinstance(stated, list) else [stated]
    return ", ".join(each[:200] for each in listed[:10] if isinstance(each, str)) or None


def _token(settings: Settings) -> str | Literal[False]:
    """Return the configured token; False keeps the client from using one saved on this machine."""
    return settings.hub_token.get_secret_value() if settings.hub_token else False


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Turn the hub client's errors into HubRefused and HubUnavailable."""
    try:
        yield
    except HFValidationError:
        message = "This is not a valid repository name on the hub."
        raise HubRefused("repo", "hub_repo_invalid", message) from None
    except RevisionNotFoundError:
        message = f"The hub has no such branch, tag or commit in {repo}."
        raise HubRefused("revision", "hub_revision_unknown", message) from None
    except GatedRepoError:
        message = "The dataset is gated: the hub gives access only to accounts that requested it."
        raise HubRefused("repo", "hub_access_denied", message, _TOKEN) from None
    except RepositoryNotFoundError as error:
        raise _by_status(repo, error) from None
    except HfHubHTTPError as error:
        raise _by_status(repo, error) from None
    except (httpx2.HTTPError, OfflineModeIsEnabled) as error:
        raise _unreachable(repo, type(error).__name__) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _unreachable(repo, "its response is invalid") from None


def _by_status(repo: str, error: HfHubHTTPError) -> HubRefused | HubUnavailable:
    status = error.response.status_code
    if status in (401, 403):
        message = "The hub has no public dataset with this name."
        return HubRefused("repo", "hub_access_denied", message, _TOKEN)
    if status == 404:
        return HubRefused("repo", "hub_repo_unknown", f"The hub has no dataset {repo}.")
    return _unreachable(repo, f"HTTP status {status}")


def _unreachable(repo: str, reason: str) -> HubUnavailable:
    return HubUnavailable(
        f"The hub could not be reached for {repo} ({reason}). Try again, or upload the file."
    )
