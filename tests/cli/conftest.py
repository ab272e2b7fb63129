"""Fixtures: a small real HTTP server that fails on demand, and the command as users run it."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Site(ThreadingHTTPServer):
    """Serves one file with ETag and Range, truncated on demand, and fixed responses by path.

    A response for a path with its query goes before that for the path alone.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b""
        self.etag: str | None = None
        self.cuts: list[int] = []
        """Number of bytes after which each of the next responses breaks off."""
        self.ranges: list[str | None] = []
        """Range header of each request for the file."""
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        self.streams: list[bytes] = []
        """Bytes sent on each connection to an event stream before it ends."""
        self.resumed_at: list[str | None] = []
        """Last-Event-ID of each of these connections."""
        self.deleted: list[str] = []
        """Paths of the DELETE requests."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, body: object, status: int = 200) -> None:
        kind = "application/problem+json" if status >= 400 else "application/json"
        self.answers[path] = (status, kind, json.dumps(body).encode())

    def serve(self, content: bytes) -> str:
        """Set the served file and return its SHA-256."""
        self.content = content
        self.etag = hashlib.sha256(content).hexdigest()
        return self.etag


class Handler(BaseHTTPRequestHandler):
    server: Site
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.endswith("/adapter"):
            self._send_file()
        elif self.path.endswith("/stream"):
            self.server.resumed_at.append(self.headers.get("Last-Event-ID"))
            self._send(200, "text/event-stream", self.server.streams.pop(0))
        else:
            self._answer()

    def do_DELETE(self) -> None:
        self.server.deleted.append(self.path)
        self._send(204, "text/plain", b"")

    def _answer(self) -> None:
        answers = self.server.answers
        self._send(*answers.get(self.path) or answers[self.path.partition("?")[0]])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(*self.server.answers[self.path])

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _send_file(self) -> None:
        site, wanted = self.server, self.headers.get("Range")
        site.ranges.append(wanted)
        unchanged = self.headers.get("If-Range") == f'"{site.etag}"'
        start = int(wanted[len("bytes=") : -1]) if wanted and unchanged else 0
        body = site.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{site.etag}"')
        self.end_headers()
        cut = site.cuts.pop(0) if site.cuts else None
        self.wfile.write(body[:cut])
        self.close_connection = True


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def tunesmith(tmp_path):
    """Run the command in an empty folder: `tunesmith("jobs", "--url", ...)`."""

    def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *map(str, words)],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run
