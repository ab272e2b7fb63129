"""Turns pydantic's validation errors into problems with pointers, stable codes and hints."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, get_origin, get_type_hints

from pydantic import BaseModel

from app.api.requests import nearest, wording
from app.core.errors import Problem

_CODES = {
    "extra_forbidden": "unknown_field",
    "missing": "missing",
    "finite_number": "not_finite",
    "literal_error": "not_allowed",
    "enum": "not_allowed",
    "string_pattern_mismatch": "wrong_format",
    "string_unicode": "wrong_format",
    "value_error": "invalid_combination",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
    "string_too_short": "wrong_length",
    "string_too_long": "wrong_length",
    "too_short": "wrong_length",
    "too_long": "wrong_length",
}
_OUTSIDE = {"query": "?", "path": "path:", "header": "header:", "cookie": "cookie:"}


def problems_of(
    errors: Sequence[Mapping[str, Any]], body: Any, endpoint: Any = None
) -> tuple[Problem, ...]:
    """Return one problem per place: the branches of a union report the same value repeatedly."""
    models = list(_body_models(endpoint))
    by_place: dict[tuple[str, bool], Problem] = {}
    for error in errors:
        found = _problem(error, body, models)
        place = (found.pointer, found.code == "unknown_field")
        earlier = by_place.get(place)
        if earlier is None:
            by_place[place] = found
        elif found.hint not in earlier.hint:
            by_place[place] = _either(earlier, found)
    problems = by_place.values()
    return tuple(one for one in problems if not _has_deeper(one, problems))


def _either(one: Problem, other: Problem) -> Problem:
    message = one.message if one.message == other.message else f"{one.message} Or: {other.message}"
    return Problem(one.pointer, one.code, message, f"{one.hint} Or: {other.hint}")


def _has_deeper(problem: Problem, problems: Iterable[Problem]) -> bool:
    """Return True if a problem lies inside this one: another branch of a union got further."""
    inside = f"{problem.pointer}/"
    return any(other.pointer.startswith(inside) for other in problems)


def pointer(parts: Sequence[str | int]) -> str:
    """Build a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _problem(error: Mapping[str, Any], body: Any, models: list[type[BaseModel]]) -> Problem:
    where, *rest = error["loc"]
    kind = str(error["type"])
    code = _CODES.get(kind) or ("wrong_type" if kind.endswith(("type", "parsing")) else "invalid")
    if where in _OUTSIDE:
        name = str(rest[0]) if rest else ""
        return Problem(f"{_OUTSIDE[where]}{name}", code, *wording.words(error, code, ()))
    if not rest and kind == "missing":
        return Problem("", code, "A JSON body is required.", "Send a JSON object.")
    path = _path(rest, body, is_missing=kind == "missing")
    if code == "unknown_field":
        message = f"Unknown field `{path[-1]}`."
        return Problem(pointer(path), code, message, nearest.hint(models, path))
    forms = [form for model in models for form in wording.forms_at(model, path)]
    return Problem(pointer(path), code, *wording.words(error, code, forms))


def _path(loc: Sequence[str | int], body: Any, *, is_missing: bool) -> list[str | int]:
    """Return the parts of a location that exist in the body; the rest name a union's branch."""
    path: list[str | int] = []
    for part in loc:
        is_key = isinstance(body, Mapping) and part in body
        if is_key or (isinstance(body, list) and isinstance(part, int) and part < len(body)):
            body = body[part]
            path.append(part)
    return [*path, loc[-1]] if is_missing else path


def _body_models(endpoint: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an endpoint takes as its body."""
    if endpoint is None:
        return
    for name, hint in get_type_hints(endpoint, include_extras=True).items():
        plain = get_origin(hint) is not Annotated
        if name != "return" and plain and inspect.isclass(hint) and issubclass(hint, BaseModel):
            yield hint
