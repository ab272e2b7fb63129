"""HTTP client: finds the server and turns its errors into exceptions."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from app.cli import configuration, wording
from app.core.errors import Failure, Problem, Unavailable
from app.embedded import files

DEFAULT_URL = "http://127.0.0.1:8000"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Unreachable(Unavailable):
    code = "server_unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"No answer from {url} ({reason}). Start a stack with `tunesmith up`, or choose "
            "another server with --url or TUNESMITH_URL."
        )


class Refused(Failure):
    """An error response of the server, usually a problem document."""

    code = "refused"
    is_temporary = False
    """True for 429 and 503: the same request may succeed later."""
    server_code = ""
    """`code` of the problem document."""

    @classmethod
    def read(cls, response: httpx.Response) -> Self:
        address = response.request.url
        url = str(address.copy_with(path="/", query=None)).rstrip("/")
        try:
            document = dict(response.json())
            errors = [_problem(error, url) for error in document.get("errors") or []]
        except (ValueError, TypeError, AttributeError):
            return cls(wording.no_document(response.status_code, url))
        refused = cls(wording.detail(document, address.path, url), errors=errors)
        refused.server_code = str(document.get("code", ""))
        refused.is_temporary = response.status_code in (429, 503)
        return refused


class Server:
    """A server; each request returns its result or raises a Failure."""

    def __init__(self, http: httpx.Client, option: str = "") -> None:
        self._http = http
        self.url = str(http.base_url).rstrip("/")
        self.option = option
        """What a later command needs in order to find this server: " --url ..." or nothing."""

    def get(self, path: str, **parameters: Any) -> Any:
        return self._request("GET", path, params=parameters).json()

    def text(self, path: str, **parameters: Any) -> str:
        return self._request("GET", path, params=parameters).text

    def post(self, path: str, body: Any) -> Any:
        return self._request("POST", path, json=body).json()

    def delete(self, path: str) -> None:
        self._request("DELETE", path)

    def upload(self, path: str, file: Path, **fields: str) -> Any:
        with file.open("rb") as content:
            parts = {"file": (file.name, content)}
            return self._request("POST", path, files=parts, data=fields, timeout=600).json()

    @contextmanager
    def stream(self, path: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Stream a response. Raises httpx.TransportError when the connection breaks, for resuming.

        416 is returned like a success.
        """
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
    """Connect to `url`, else to the stack running on the data folder, else to the default port."""
    try:
        base = httpx.URL(url or _running_here(data_dir) or DEFAULT_URL)
        # Connections to this machine ignore proxies configured in the environment.
        http = httpx.Client(base_url=base, timeout=30, trust_env=base.host not in _LOOPBACK)
    except httpx.InvalidURL as error:
        raise Unreachable(str(url), str(error)) from None
    with http:
        yield Server(http, _option(url, data_dir, http))


def _option(url: str | None, data_dir: Path | None, http: httpx.Client) -> str:
    is_given = data_dir is not None or (url is not None and url != os.environ.get("TUNESMITH_URL"))
    return f" --url {str(http.base_url).rstrip('/')}" if is_given else ""


def _running_here(data_dir: Path | None) -> str | None:
    found = files.running(configuration.load(data_dir=data_dir).data_dir)
    return found.url if found else None


def _problem(error: dict[str, str], url: str) -> Problem:
    return Problem(
        error.get("pointer", ""),
        error.get("code", ""),
        wording.sentence(error.get("message", ""), url),
        wording.sentence(error.get("hint", ""), url),
    )
