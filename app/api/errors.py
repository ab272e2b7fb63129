"""Render every failure as RFC 9457 problem+json. No other module builds error responses."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from obstore.exceptions import GenericError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.api.requests.validation import problems_of
from app.core.errors import Failure, Problem, Unavailable
from app.core.storage import StorageFull

MEDIA_TYPE = "application/problem+json"
_CODES = {400: "bad_request", 404: "route_not_found", 405: "method_not_allowed"}
_log = structlog.get_logger(__name__)


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class StorageUnavailable(Unavailable):
    code = "storage_unavailable"


class NoRoom(Failure):
    code = "storage_full"
    status = 507


class NotJson(Failure):
    code = "unsupported_media_type"
    status = 415


def install(app: FastAPI) -> None:
    app.add_exception_handler(Failure, _failure)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeout, _database)
    app.add_exception_handler(StorageFull, _full)
    app.add_exception_handler(GenericError, _store)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    instance: str,
    errors: tuple[Problem, ...] = (),
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> Response:
    body: dict[str, Any] = {
        "type": f"urn:tunesmith:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "errors": [one.as_dict() for one in errors],
        **extra,
    }
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


def render(request: Request, failure: Failure) -> Response:
    extra = dict(failure.extra)
    seconds = extra.pop("retry_after_seconds", getattr(failure, "retry_after_seconds", None))
    headers = dict(extra.pop("headers", {}))
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    return problem(
        failure.status,
        failure.code,
        failure.detail,
        instance=request.url.path,
        errors=failure.errors,
        headers=headers,
        **extra,
    )


def internal(request: Request, request_id: str) -> Response:
    """Return a 500 with its request id and no internal details."""
    detail = f"Internal server error. Include this request id when you report it: {request_id}"
    return problem(500, "internal_error", detail, instance=request.url.path, request_id=request_id)


def _failure(request: Request, error: Exception) -> Response:
    assert isinstance(error, Failure)
    return render(request, error)


def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    body = error.body
    if isinstance(body, bytes):
        # FastAPI leaves a body without a JSON content type as bytes.
        kind = request.headers.get("content-type", "no content type")
        detail = f"The body must be JSON with Content-Type: application/json, not {kind[:100]}."
        return render(request, NotJson(detail))
    found = problems_of(error.errors(), body, request.scope.get("endpoint"))
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    return problem(
        422,
        "invalid_request",
        f"This request has {count}; see `errors`.",
        instance=request.url.path,
        errors=found,
    )


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, Failure):
        # FastAPI wraps any exception raised while it reads a body.
        return render(request, error.__cause__)
    status = error.status_code
    details = {
        404: f"There is no route {request.url.path}. GET /openapi.json lists all routes.",
        405: f"This route does not support {request.method}; see the Allow header.",
    }
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = ", ".join(sorted(request.app.state.methods_of(request.url.path)))
    return problem(
        status,
        _CODES.get(status, "http_error"),
        details.get(status, str(error.detail)),
        instance=request.url.path,
        headers=headers,
    )


def _database(request: Request, error: Exception) -> Response:
    is_outage = isinstance(error, OperationalError | InterfaceError | PoolTimeout)
    if not is_outage and not getattr(error, "connection_invalidated", False):
        raise error
    _log.warning("database_unavailable", error=type(error).__name__, reason=str(error)[:300])
    detail = "The database is not responding. Nothing was changed; try again shortly."
    return render(request, DatabaseUnavailable(detail))


def _full(request: Request, error: Exception) -> Response:
    _log.error("storage_full", path=request.url.path)
    detail = (
        "The server's storage is full, and nothing from this request was stored. Delete datasets "
        "or jobs, or free up space on the server, and try again."
    )
    # The rest of the body will not be read.
    return render(request, NoRoom(detail, headers={"Connection": "close"}))


def _store(request: Request, error: Exception) -> Response:
    _log.warning("storage_unavailable", reason=str(error)[:300])
    detail = "The storage is not responding. Nothing was stored; try again shortly."
    return render(request, StorageUnavailable(detail))
