"""JSON bodies, read strictly: UTF-8, no key twice, at most 64 levels, nothing Postgres cannot hold.

NaN and Infinity are let through to the schema, which refuses them with a pointer.
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
        """Raises MalformedJson; FastAPI wraps it, `app.api.errors` takes it out again."""
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
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise MalformedJson(f"The body is not UTF-8: byte {error.start} is wrong.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedJson(f"The body is not JSON: {error.msg} at {where}.") from None
    except RecursionError:
        raise MalformedJson(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    except ValueError as error:
        raise MalformedJson(f"The body is not JSON we can read: {str(error)[:100]}.") from None
    _check(value)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedJson(f"The key {twice[:100]!r} comes twice in one object.")
    return made


def _check(value: Any) -> None:
    for path, found in _walk(value, ()):
        if len(path) >= MAX_DEPTH and isinstance(found, dict | list):
            raise MalformedJson(f"The body is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(found, str) and not _can_be_stored(found):
            message = "Text may hold no NUL character and no lone surrogate."
            hint = r"Take out \0, and write a pair of surrogates as its character."
            at = Problem(pointer(path), "wrong_format", message, hint)
            raise Invalid("A text in the body cannot be stored; see `errors`.", errors=[at])


def _walk(root: Any, start: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value and key, without recursion: the depth is what is being checked."""
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
