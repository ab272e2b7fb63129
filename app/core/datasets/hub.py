"""Datasets from the hub at one commit: data files only, checked against what the hub says of them.

`resolve` asks what there is, `fetch` brings one file. No code of a repository is ever run.
"""

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import httpx2  # what huggingface_hub speaks with; it lets these errors through
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
"""Of a split or a config."""
REVISION = r"[A-Za-z0-9][A-Za-z0-9_./-]{0,199}"
_COMMIT = r"[0-9a-f]{40}"
PATIENCE_SECONDS = 60.0
_SLOWEST_BYTES = 200_000.0
"""A second; a hub that is slower is away."""
_TOKEN = "Set TUNESMITH_HUB_TOKEN to a token of an account that may read it."


class HubUnavailable(Unavailable):
    code = "hub_unavailable"


class HubFileWrong(Exception):
    """What came is not what the hub said would come."""


@dataclass(frozen=True)
class SplitRequest:
    repo: str
    split: str = "train"
    revision: str | None = None
    """A branch, a tag or a commit; None: the main branch."""
    config: str | None = None


@dataclass(frozen=True)
class File:
    path: str
    bytes: int
    digest: str
    """`sha256:` of the bytes, or `git:`, which is SHA-1 of git's blob."""


@dataclass(frozen=True)
class Source:
    """A split at one commit, down to its bytes."""

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


def resolve(settings: Settings, wanted: SplitRequest) -> Source:
    """What an import will fetch. Raises HubRefused, TooLarge or HubUnavailable, within seconds."""
    _check(wanted)
    with _hub_errors(wanted.repo):
        api = HfApi(endpoint=settings.hub_endpoint, token=_token(settings))
        info = api.dataset_info(
            wanted.repo, revision=wanted.revision or "main", files_metadata=True, timeout=10
        )
        source = _source(wanted, info)
    if source.num_bytes > settings.max_upload_bytes:
        many = f"The split has {source.num_bytes:,} bytes"
        raise TooLarge(f"{many}; this server takes {settings.max_upload_bytes:,}.")
    return source


def fetch(
    settings: Settings,
    source: Source,
    file: File,
    target: Path,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """One file, whole and as announced. Raises HubFileWrong, HubRefused or HubUnavailable."""
    url = hf_hub_url(
        source.repo,
        file.path,
        repo_type="dataset",
        revision=source.revision,
        endpoint=settings.hub_endpoint,
    )
    # Compressed on the way, a small answer could become an endless file.
    headers = {"Accept-Encoding": "identity"}
    if token := _token(settings):
        headers["Authorization"] = f"Bearer {token}"
    with (
        _hub_errors(source.repo),
        get_session().stream("GET", url, headers=headers, timeout=30) as answer,
    ):
        hf_raise_for_status(answer)
        # As they come: collected into larger ones, a trickle would get past the clock.
        seconds = patience_seconds + file.bytes / _SLOWEST_BYTES
        _store(_in_time(answer.iter_raw(), seconds, file.path), file, target)


def _in_time(chunks: Iterator[bytes], seconds: float, path: str) -> Iterator[bytes]:
    over = time.monotonic() + seconds
    for chunk in chunks:
        if time.monotonic() > over:
            raise HubUnavailable(f"{path} did not come within {seconds:.0f} s. Try again.")
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
        raise HubFileWrong(f"{file.path} is not the {file.bytes:,} bytes that the hub announced.")
    if digest.hexdigest() != expected:
        raise HubFileWrong(f"{file.path} does not have the hash that the hub announced.")


def _check(wanted: SplitRequest) -> None:
    rules = {"repo": REPO, "split": NAME, "config": NAME, "revision": REVISION}
    for field, rule in rules.items():
        value = getattr(wanted, field)
        if value is not None and (not re.fullmatch(rule, value, re.ASCII) or ".." in value):
            hint = "A repository is `owner/name`." if field == "repo" else ""
            message = f"This is not the name of a {field} on the hub."
            raise HubRefused(field, f"hub_{field}_invalid", message, hint)


def _source(wanted: SplitRequest, info: DatasetInfo) -> Source:
    card: dict[str, Any] = vars(info.card_data) if info.card_data else {}
    listed = {file.rfilename: file for file in info.siblings or ()}
    config, names = hub_files.choose(card, sorted(listed), wanted.config, wanted.split)
    is_commit = re.fullmatch(_COMMIT, wanted.revision or "")
    if not re.fullmatch(_COMMIT, info.sha or "") or (is_commit and info.sha != wanted.revision):
        raise ValueError("no commit, or another one")
    return Source(
        repo=wanted.repo,
        config=config,
        split=wanted.split,
        revision=str(info.sha),
        license=_license(card.get("license")),
        files=tuple(_file(listed[name]) for name in names),
    )


def _file(listed: RepoSibling) -> File:
    digest = f"sha256:{listed.lfs.sha256}" if listed.lfs else f"git:{listed.blob_id}"
    is_sound = re.fullmatch(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", digest)
    if not is_sound or not isinstance(listed.size, int) or listed.size < 0:
        raise ValueError("a file without its size or hash")
    return File(listed.rfilename, listed.size, digest)


def _license(stated: Any) -> str | None:
    listed = stated if isinstance(stated, list) else [stated]
    return ", ".join(each[:200] for each in listed[:10] if isinstance(each, str)) or None


def _token(settings: Settings) -> str | Literal[False]:
    """False: never the token of whoever is logged in on this machine."""
    return settings.hub_token.get_secret_value() if settings.hub_token else False


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """What goes wrong with the hub, as errors of ours."""
    try:
        yield
    except HFValidationError:
        message = "This is not the name of a repository on the hub."
        raise HubRefused("repo", "hub_repo_invalid", message) from None
    except RevisionNotFoundError:
        message = f"The hub has no such branch, tag or commit of {repo}."
        raise HubRefused("revision", "hub_revision_unknown", message) from None
    except GatedRepoError:
        message = "The hub gives access only to accounts that asked for it."
        raise HubRefused("repo", "hub_access_denied", message, _TOKEN) from None
    except RepositoryNotFoundError as error:
        raise _by_status(repo, error) from None
    except HfHubHTTPError as error:
        raise _by_status(repo, error) from None
    except (httpx2.HTTPError, OfflineModeIsEnabled) as error:
        raise _unreachable(repo, type(error).__name__) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _unreachable(repo, "its answer makes no sense") from None


def _by_status(repo: str, error: HfHubHTTPError) -> HubRefused | HubUnavailable:
    status = error.response.status_code
    if status in (401, 403):
        message = "The hub has no public dataset of that name."
        return HubRefused("repo", "hub_access_denied", message, _TOKEN)
    if status == 404:
        return HubRefused("repo", "hub_repo_unknown", f"The hub has no dataset {repo}.")
    return _unreachable(repo, f"it answered {status}")


def _unreachable(repo: str, reason: str) -> HubUnavailable:
    return HubUnavailable(
        f"The hub could not be reached for {repo} ({reason}). Try again, or upload the file."
    )
