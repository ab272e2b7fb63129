"""A stand-in for the hub's datasets, on a local port."""

import hashlib
import json
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.core.models.standins import Hub

FIRST, SECOND = "a" * 40, "b" * 40
ROWS = b'{"instruction": "Say hi.", "output": "Hi."}\n{"instruction": "2+2?", "output": "4"}\n'


class DatasetHub(Hub):
    """Commits hold files; a branch points at one; `.parquet` and `.gz` files are LFS files."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: dict[tuple[str, str], dict[str, bytes]] = {}
        self.branches: dict[tuple[str, str], str] = {}
        self.cards: dict[str, dict[str, Any]] = {}
        self.served: dict[str, bytes] = {}
        """Content to serve instead of what was announced, by path."""

    def put(
        self,
        repo: str,
        files: dict[str, bytes],
        card: dict[str, Any] | None = None,
        commit: str = FIRST,
        branch: str = "main",
    ) -> None:
        self.commits[repo, commit] = files
        self.branches[repo, branch] = commit
        self.cards[repo] = card or {}

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        parts = parts[2:] if parts[0] == "api" else parts[1:]
        repo, kind, revision, name = "/".join(parts[:2]), *parts[2:4], "/".join(parts[4:])
        if repo in self.refusals:
            return *self.refusals[repo], b"{}"
        if repo not in self.cards:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        commit = self.branches.get((repo, revision), revision)
        if (repo, commit) not in self.commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        files = self.commits[repo, commit]
        if kind == "revision":
            return 200, {}, json.dumps(self._info(repo, commit)).encode()
        if name not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        return 200, {}, self.served.get(name, files[name])

    def _info(self, repo: str, commit: str) -> dict[str, Any]:
        files = self.commits[repo, commit]
        listed = [_listed(name, content) for name, content in files.items()]
        return {"id": repo, "sha": commit, "cardData": self.cards[repo], "siblings": listed}


def _listed(name: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    listed: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
    if name.endswith((".parquet", ".gz")):
        sha256 = hashlib.sha256(content).hexdigest()
        listed["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 130}
    return listed
