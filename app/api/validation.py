"""What pydantic found wrong with a request, as problems with pointers, stable codes and hints."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from app.core.errors import Problem

_CODES = {
    "extra_forbidden": "unknown_field",
    "missing": "missing",
    "finite_number": "not_finite",
    "literal_error": "not_allowed",
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
    """One problem per place: the branches of a union say the same about the same value."""
    models = list(_body_models(endpoint))
    by_place: dict[tuple[str, bool], Problem] = {}
    for error in errors:
        found = _problem(error, body, models)
        place = (found.pointer, found.code == "unknown_field")
        earlier = by_place.get(place)
        if earlier is None:
            by_place[place] = found
        elif found.message not in earlier.message:
            message = f"{earlier.message}, or: {found.message}"
            by_place[place] = Problem(found.pointer, earlier.code, message, earlier.hint)
    told = by_place.values()
    return tuple(one for one in told if not _is_told_deeper(one, told))


def _is_told_deeper(problem: Problem, found: Iterable[Problem]) -> bool:
    """Something inside it is wrong too: then another branch of a union got further."""
    inside = f"{problem.pointer}/"
    return any(other.pointer.startswith(inside) for other in found)


def pointer(parts: Sequence[str | int]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _problem(error: Mapping[str, Any], body: Any, models: list[type[BaseModel]]) -> Problem:
    where, *rest = error["loc"]
    kind = str(error["type"])
    message = str(error["msg"]).removeprefix("Value error, ")
    code = _CODES.get(kind) or ("wrong_type" if kind.endswith(("type", "parsing")) else "invalid")
    if where in _OUTSIDE:
        name = str(rest[0]) if rest else ""
        return Problem(f"{_OUTSIDE[where]}{name}", code, message)
    if not rest and kind == "missing":
        return Problem("", code, "A JSON body is required.")
    path = _path(rest, body, is_missing=kind == "missing")
    if code != "unknown_field":
        return Problem(pointer(path), code, message)
    hint = next((hint for model in models if (hint := _nearest(model, path))), "")
    return Problem(pointer(path), code, f"There is no field `{path[-1]}` here.", hint)


def _path(loc: Sequence[str | int], body: Any, *, is_missing: bool) -> list[str | int]:
    """The parts of a location that lead through the body; the rest names a union's branch."""
    path: list[str | int] = []
    for part in loc:
        is_key = isinstance(body, Mapping) and part in body
        if is_key or (isinstance(body, list) and isinstance(part, int) and part < len(body)):
            body = body[part]
            path.append(part)
    return [*path, loc[-1]] if is_missing else path


def _nearest(model: type[BaseModel], path: Sequence[str | int]) -> str:
    """The field that was probably meant, in the same object or, spelled right, in another."""
    unknown = str(path[-1])
    here: type[BaseModel] | None = model
    for part in path[:-1]:
        here = _inner(here, str(part)) if here else None
    if here is None:
        return ""
    near = get_close_matches(unknown, here.model_fields, 1)
    if near:
        return f"Did you mean `{near[0]}`?"
    elsewhere = [place for place, names in _objects(model) if unknown in names]
    return f"`{unknown}` belongs at {elsewhere[0]}/{unknown}." if elsewhere else ""


def _objects(model: type[BaseModel], at: str = "") -> Iterator[tuple[str, set[str]]]:
    yield at, set(model.model_fields)
    for name in model.model_fields:
        inner = _inner(model, name)
        if inner is not None:
            yield from _objects(inner, f"{at}/{name}")


def _inner(model: type[BaseModel], field: str) -> type[BaseModel] | None:
    info = model.model_fields.get(field)
    return next(_models_in(info.annotation), None) if info else None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _body_models(endpoint: Any) -> Iterator[type[BaseModel]]:
    """The models an endpoint takes as its body."""
    if endpoint is None:
        return
    for name, hint in get_type_hints(endpoint, include_extras=True).items():
        plain = get_origin(hint) is not Annotated
        if name != "return" and plain and inspect.isclass(hint) and issubclass(hint, BaseModel):
            yield hint
