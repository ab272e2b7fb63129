"""`tunesmith.json` in a model folder: the hub repository that the folder is a copy of.

The folder's owner declares it; nothing is compared with the hub. Adapters then name the
repository as their base, so that others can load them.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "tunesmith.json"
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_BYTES = 64 << 10


class BadDeclaration(Exception):
    """Its text completes the sentence "tunesmith.json ..."."""


@dataclass(frozen=True)
class Declaration:
    hub_id: str
    hub_revision: str | None = None


def read(folder: Path) -> Declaration | None:
    """None if the folder declares nothing. Raises BadDeclaration."""
    file = folder / FILE
    if not file.is_file():
        return None
    if file.stat().st_size > _MAX_BYTES:
        raise BadDeclaration("is larger than 64 KiB")
    try:
        found: Any = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise BadDeclaration("is not JSON") from None
    if not isinstance(found, dict):
        raise BadDeclaration("is not a JSON object")
    repo, revision = found.pop("hub_id", None), found.pop("hub_revision", None)
    if found:
        raise BadDeclaration(f"has the unknown key {sorted(found)[0][:80]!a}")
    if not isinstance(repo, str) or not _REPO.fullmatch(repo):
        raise BadDeclaration("needs `hub_id`, the repository as `owner/name`")
    if revision is not None and not (isinstance(revision, str) and _COMMIT.fullmatch(revision)):
        raise BadDeclaration("needs 40 hexadecimal digits of a commit as `hub_revision`, or none")
    return Declaration(repo, revision)
