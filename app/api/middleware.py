"""ASGI middleware for every request: request id, access log, limits, security headers.

The outermost one, `RequestContext`, turns any unhandled exception into a problem document. Every
response has a request id, including those to requests that fail.
"""

import re
import time
from collections.abc import Sequence

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import errors
from app.api.telemetry import Telemetry
from app.core.errors import Failure, Invalid, TooLarge
from app.core.ids import new_id
from app.core.settings import Settings
from app.services import parts

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}
_log = structlog.get_logger("app.access")


class HostNotAllowed(Invalid):
    code = "host_not_allowed"
    status = 400


class UnreadableUrl(Invalid):
    code = "malformed_url"
    status = 400


class RequestContext:
    """Assigns the request id, measures the duration, and turns unhandled exceptions into a 500."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        started, status = time.perf_counter(), 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _finish_headers(MutableHeaders(scope=message), request_id)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_named)
            except ClientDisconnect:
                _log.info("client_gone", method=scope["method"], path=scope["path"])
            except Failure as failure:
                await errors.render(Request(scope), failure)(scope, receive, send_named)
            except Exception:
                _log.exception("request_failed", method=scope["method"], path=scope["path"])
                if status:
                    raise  # the response has started: the server must drop the connection
                await errors.internal(Request(scope), request_id)(scope, receive, send_named)
            finally:
                self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "(none)")
        self._telemetry.note_request(scope["method"], route, status, seconds)
        client = scope.get("client")
        _log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 1),
            client=client[0] if client else None,
        )


class AllowedHosts:
    """Rejects unknown Host headers, so that a web page cannot reach the API by DNS rebinding."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_allowed(Headers(scope=scope)):
            raise HostNotAllowed(
                "This Host header is not allowed. Add the name to TUNESMITH_ALLOWED_HOSTS."
            )
        await self._app(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        if "*" in self._hosts:
            return True
        host = re.sub(r":\d*$", "", headers.get("host", "").lower())
        return host in self._hosts


class Limits:
    """Limits the size of a body, counted as its bytes arrive, and rejects NUL in a URL."""

    def __init__(self, app: ASGIApp, body_bytes: int, upload_bytes: int) -> None:
        self._app = app
        self._body_bytes = body_bytes
        # The other parts of the form count too.
        self._upload_bytes = upload_bytes + body_bytes
        self._part_bytes = min(upload_bytes, parts.MAX_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise UnreadableUrl("A URL must not contain a NUL character.")
        limit = self._limit(scope["method"], scope["path"])
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > limit:
            raise _too_large(limit)
        await self._app(scope, _Counted(receive, limit), send)

    def _limit(self, method: str, path: str) -> int:
        if (method, path) == ("POST", "/datasets"):
            return self._upload_bytes
        is_part = method == "PUT" and path.startswith("/datasets/uploads/")
        return self._part_bytes if is_part else self._body_bytes


class _Counted:
    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            raise _too_large(self._limit)
        return message


def _too_large(limit: int) -> TooLarge:
    detail = f"The request body exceeds the limit of {limit:,} bytes."
    # The rest of the body will not be read.
    return TooLarge(detail, limit=limit, headers={"Connection": "close"})


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else new_id("req")


def _finish_headers(headers: MutableHeaders, request_id: str) -> None:
    headers["x-request-id"] = request_id
    for name, value in _SECURITY.items():
        headers.setdefault(name, value)


def stack(settings: Settings, telemetry: Telemetry) -> list[Middleware]:
    """Return the middleware, outermost first."""
    return [
        Middleware(RequestContext, telemetry=telemetry),
        Middleware(AllowedHosts, hosts=settings.allowed_hosts),
        Middleware(
            Limits, body_bytes=settings.max_body_bytes, upload_bytes=settings.max_upload_bytes
        ),
    ]
