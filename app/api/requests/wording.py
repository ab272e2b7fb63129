"""Message and hint for an invalid value, in words that do not mention pydantic."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel

Form = Mapping[str, Any]
"""JSON Schema of an allowed value."""

_TYPES: Mapping[str, tuple[str, str]] = {
    "object": ("an object", 'Write a JSON object: {"name": value}.'),
    "array": ("an array", "Write a JSON array: [value, value]."),
    "string": ("a string", "Write a JSON string, in double quotes."),
    "integer": ("an integer", "Write a JSON number without quotes and without a fraction."),
    "number": ("a number", "Write a JSON number, without quotes."),
    "boolean": ("true or false", "Write true or false, without quotes."),
}
_KINDS: Mapping[str, str] = {
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "string": "string",
    "list": "array",
    "dict": "object",
    "model": "object",
}
"""JSON type by the name with which pydantic begins the type of an error."""
_PATTERNS: Mapping[str, str] = {
    r"^[0-9a-f]{40}$": "Use a commit hash of 40 hexadecimal digits.",
    r"^[A-Za-z0-9_.]+$": "Use only letters, digits, `_` and `.`.",
}
_LIMITS: Mapping[str, str] = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
_CONTEXT: Mapping[str, str] = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "pattern": "pattern",
}
_ELSEWHERE = "GET /openapi.json describes the allowed values."


def words(error: Mapping[str, Any], code: str, forms: Sequence[Form]) -> tuple[str, str]:
    """Return message and hint. `forms` is empty where no body model describes the value."""
    known = [*forms, {_CONTEXT[k]: v for k, v in error.get("ctx", {}).items() if k in _CONTEXT}]
    return _WORDS.get(code, _otherwise)(error, known)


def forms_at(model: type[BaseModel], path: Sequence[str | int]) -> list[Form]:
    """Return the schemas allowed at a path of a body: one for each branch of a union."""
    root = node = _schema(model)
    for part in path:
        node = next(_within(root, node, part), {})
    return list(_branches(root, node))


@cache
def _schema(model: type[BaseModel]) -> Form:
    return model.model_json_schema()


def _branches(root: Form, node: Form) -> Iterator[Form]:
    if "$ref" in node:
        node = root["$defs"][node["$ref"].rpartition("/")[2]]
    yield node
    for branch in node.get("anyOf", ()):
        yield from _branches(root, branch)


def _within(root: Form, node: Form, part: str | int) -> Iterator[Form]:
    for form in _branches(root, node):
        names = form.get("properties", {})
        found = form.get("items") if isinstance(part, int) else names.get(part)
        found = found or form.get("additionalProperties")
        if isinstance(found, dict):
            yield found


def _missing(error: Mapping[str, Any], forms: Sequence[Form]) -> tuple[str, str]:
    kinds = [_TYPES[form["type"]][0] for form in forms if form.get("type") in _TYPES]
    name = error["loc"][-1]
    return f"`{name}` is missing.", f"Add `{name}`" + (f" ({kinds[0]})." if kinds else ".")


def _wrong_type(error: Mapping[str, Any], forms: Sequence[Form]) -> tuple[str, str]:
    kind = _KINDS.get(str(error["type"]).partition("_")[0])
    return (f"This must be {_TYPES[kind][0]}.", _TYPES[kind][1]) if kind else _otherwise(error, ())


def _out_of_range(error: Mapping[str, Any], forms: Sequence[Form]) -> tuple[str, str]:
    is_small = str(error["type"]).startswith("greater")
    return f"This number is too {'small' if is_small else 'large'}.", f"Use {_range(forms)}."


def _not_finite(error: Mapping[str, Any], forms: Sequence[Form]) -> tuple[str, str]:
    return "This number is not finite.", f"JSON has no NaN or Infinity. Use {_range(forms)}."


def _range(forms: Sequence[Form]) -> str:
    """Describe the range, e.g. `a number that is above 0 and at most 1`."""
    found = {name: form[name] for form in forms for name in _LIMITS if name in form}
    limits = [f"{word} {found[name]:,}" for name, word in _LIMITS.items() if name in found]
    kind = "an integer" if any(form.get("type") == "integer" for form in forms) else "a number"
    return f"{kind} that is {' and '.join(limits)}" if limits else kind


def _not_allowed(error: Mapping[str, Any], forms: Sequence[Form]) -> tuple[str, str]:
    listed = [one for form in forms for one in form.get("enum", [])]
    listed += [form["const"] for form in forms if "const" in form]
    allowed = ", ".join(map(json.dumps, listed)) or error.get("ctx", {}).get("expected", "")
    near = get_close_matches(str(error.get("input"))[:100], [str(one) for one in listed], 1)
    guess = f"Did you mean {json.dumps(near[0])}? " if near else ""
    return "This value is not allowed.", f"{guess}Allowed: {allowed}."


def _wrong_length(error: Mapping[str, Any], forms: Sequence[Form]) -> tuple[str, str]:
    kind, context = str(error["type"]), error.get("ctx", {})
    is_long, is_text = kind.endswith("long"), kind.startswith("string")
    limit = context.get("max_length") if is_long else context.get("min_length")
    what = "character" if is_text else "entry"
    many = f"{what}s" if is_text else "entries"
    bound = f"{'at most' if is_long else 'at least'} {limit:,} {what if limit == 1 else many}"
    return f"This is too {'long' if is_long else 'short'}.", f"Use {bound}."


def _wrong_format(error: Mapping[str, Any], forms: Sequence[Form]) -> tuple[str, str]:
    pattern = next((form["pattern"] for form in reversed(forms) if "pattern" in form), None)
    if pattern is None:
        return "This string is not valid Unicode.", "Send it as valid UTF-8, without surrogates."
    return "This string has the wrong format.", _PATTERNS.get(pattern, f"It must match {pattern}.")


def _invalid_combination(error: Mapping[str, Any], forms: Sequence[Form]) -> tuple[str, str]:
    """Use the sentence of the schema's own validator as the hint."""
    reason = str(error["msg"]).removeprefix("Value error, ")
    return "These fields cannot be combined.", f"{reason[:1].upper()}{reason[1:]}."


def _otherwise(error: Mapping[str, Any], forms: Sequence[Form]) -> tuple[str, str]:
    message = str(error["msg"]).replace("Input should", "This must")
    return f"{message.rstrip('.')}.", _ELSEWHERE


_WORDS: Mapping[str, Callable[[Mapping[str, Any], Sequence[Form]], tuple[str, str]]] = {
    "missing": _missing,
    "wrong_type": _wrong_type,
    "out_of_range": _out_of_range,
    "not_finite": _not_finite,
    "not_allowed": _not_allowed,
    "wrong_length": _wrong_length,
    "wrong_format": _wrong_format,
    "invalid_combination": _invalid_combination,
}
