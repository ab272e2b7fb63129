"""Talking to a server: where it is, and its errors as sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from app.cli import configuration
from app.core.errors import Failure, Problem, Unavailable
from app.embedded import files

DEFAULT_URL = "http://127.0.0.1:8000"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Unreachable(Unavailable):
    code = "server_unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"No answer from {url} ({reason}). Start a stack with `tunesmith up`, or name the "
            "server with --url or TUNESMITH_URL."
        )


class Refused(Failure):
    """The server's own words: a problem document."""

    code = "refused"
    is_passing = False
    """A server that is only just coming or going says so; asking again may help."""
    server_code = ""
    """The problem's own."""

    @classmethod
    def read(cls, response: httpx.Response) -> Self:
        try:
            said = response.json()
            errors = [_problem(error) for error in said.get("errors") or []]
        except (ValueError, AttributeError):
            said, errors = {"detail": response.text[:300]}, []
        title = said.get("title") or f"The server answered {response.status_code}."
        refused = cls(said.get("detail") or "", errors=errors, title=title)
        refused.server_code = str(said.get("code", ""))
        refused.is_passing = response.status_code in (429, 503)
        return refused


class Server:
    """One server; a request either gives its answer or raises a Failure."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.url = str(http.base_url).rstrip("/")

    def get(self, path: str, **parameters: Any) -> Any:
        return self._request("GET", path, params=parameters).json()

    def text(self, path: str, **parameters: Any) -> str:
        return self._request("GET", path, params=parameters).text

    def post(self, path: str, body: Any) -> Any:
        return self._request("POST", path, json=body).json()

    def upload(self, path: str, file: Path, **fields: str) -> Any:
        with file.open("rb") as content:
            parts = {"file": (file.name, content)}
            return self._request("POST", path, files=parts, data=fields, timeout=600).json()

    @contextmanager
    def stream(self, path: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Raises httpx.TransportError where the connection breaks: callers go on from there."""
        with self._http.stream("GET", path, headers=headers, timeout=60) as response:
            if response.is_error and response.status_code != 416:
                response.read()
                raise Refused.read(response)
            yield response

    def _request(self, verb: str, path: str, **rest: Any) -> httpx.Response:
        try:
            response = self._http.request(verb, path, **rest)
        except httpx.TransportError as error:
            raise Unreachable(self.url, str(error) or type(error).__name__) from None
        if response.is_error:
            raise Refused.read(response)
        return response


@contextmanager
def connect(url: str | None = None, data_dir: Path | None = None) -> Iterator[Server]:
    """The server named, else the stack that runs on the data folder, else the usual port."""
    try:
        base = httpx.URL(url or _running_here(data_dir) or DEFAULT_URL)
        # A proxy of the environment has no part in a conversation with this machine.
        http = httpx.Client(base_url=base, timeout=30, trust_env=base.host not in _LOOPBACK)
    except httpx.InvalidURL as error:
        raise Unreachable(str(url), str(error)) from None
    with http:
        yield Server(http)


def _running_here(data_dir: Path | None) -> str | None:
    found = files.running(configuration.load(data_dir=data_dir).data_dir)
    return found.url if found else None


def _problem(error: dict[str, str]) -> Problem:
    return Problem(
        error.get("pointer", ""),
        error.get("code", ""),
        error.get("message", ""),
        error.get("hint", ""),
    )
