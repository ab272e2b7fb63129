"""Strict JSON bodies: UTF-8, no duplicate keys, at most 64 levels, only what Postgres can store.

NaN and Infinity are passed on to the schema, which rejects them with a pointer.
"""

import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.requests.validation import pointer
from app.core.errors import Invalid, Problem

MAX_DEPTH = 64


class MalformedJson(Invalid):
    code = "malformed_json"
    status = 400


class JsonRequest(Request):
    async def json(self) -> Any:
        """Raises MalformedJson; FastAPI wraps it, and `app.api.errors` unwraps it."""
        return parse(await self.body())


class JsonRoute(APIRoute):
    """A route whose body is read by `JsonRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return handle_strictly


def parse(body: bytes) -> Any:
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except UnicodeDecodeError as error:
        raise MalformedJson(f"The body is not valid UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedJson(f"The body is not valid JSON: {error.msg} at {where}.") from None
    except RecursionError:
        raise MalformedJson(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    except ValueError as error:
        raise MalformedJson(f"The body cannot be parsed as JSON: {str(error)[:100]}.") from None
    _check(value)
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedJson(f"The key {twice[:100]!r} occurs twice in one object.")
    return made


def _check(value: Any) -> None:
    for path, found in _walk(value, ()):
        if len(path) >= MAX_DEPTH and isinstance(found, dict | list):
            raise MalformedJson(f"The body is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(found, str) and not _can_be_stored(found):
            message = "A string must not contain a NUL character or a lone surrogate."
            hint = r"Remove \0, and write a surrogate pair as the character it encodes."
            at = Problem(pointer(path), "wrong_format", message, hint)
            raise Invalid("A string in the body cannot be stored; see `errors`.", errors=[at])


def _walk(root: Any, start: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every value and key, without recursion, because the depth is not yet checked."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [(start, root)]
    while waiting:
        path, value = waiting.pop()
        yield path, value
        if isinstance(value, dict):
            for key, inner in value.items():
                yield path, key
                waiting.append(((*path, key), inner))
        elif isinstance(value, list):
            waiting.extend(((*path, index), inner) for index, inner in enumerate(value))


def _can_be_stored(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
