"""A small handmade model folder, and a stand-in for the hub on a local port."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import prod
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "max_position_embeddings": 2048,
    "vocab_size": 512,
    "_name_or_path": "somewhere/llama",
}


def safetensors(tensors: dict[str, list[int]]) -> bytes:
    """A safetensors file of F32 zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + 4 * prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    return frame(json.dumps(header).encode()) + bytes(end)


def frame(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


def model_files() -> dict[str, bytes]:
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}',
        "model.safetensors": safetensors({"embed": [512, 8], "norm": [8]}),
    }


def write_model(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    for name, content in (files or model_files()).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


class Hub:
    """Repositories by id: files, or the (status, headers) that answers every request for one."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.refusals: dict[str, tuple[int, dict[str, str]]] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.url = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        repo, kind, revision, file = _split(path)
        if repo in self.refusals:
            return *self.refusals[repo], b"{}"
        if repo not in self.repos:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if revision != COMMIT:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        files = self.repos[repo]
        if kind == "revision":
            return 200, {}, json.dumps({"id": repo, "sha": COMMIT}).encode()
        if kind == "tree":
            return 200, {"Content-Type": "application/json"}, json.dumps(_tree(files)).encode()
        if file not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        etag = hashlib.sha256(files[file]).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, files[file]


H = TypeVar("H", bound=Hub)


def _split(path: str) -> tuple[str, str, str, str]:
    parts = unquote(urlsplit(path).path).strip("/").split("/")
    if parts[:2] == ["api", "models"]:
        parts = parts[2:]
    kind, revision = parts[2], parts[3]
    return "/".join(parts[:2]), kind, revision, "/".join(parts[4:])


def _tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "type": "file",
            "path": name,
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
        }
        for name, content in files.items()
    ]


@contextmanager
def serve(hub: H) -> Iterator[H]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(self.path)
            hub.tokens.add(self.headers.get("Authorization"))
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
