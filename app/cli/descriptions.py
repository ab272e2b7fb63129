"""Finds schemas, properties, operations and parameters of the contract without a description."""

from collections.abc import Iterator, Mapping
from typing import Any

Node = Mapping[str, Any]
_ADVICE = "describe it for someone who has never seen the code, then run `make docs`"
_UNDER_FIELD = f"write a docstring under the field; {_ADVICE}."
_IN_PARAMETER = f"give its Query, Path or Header a `description`; {_ADVICE}."
_DOCSTRING = f"write a docstring; {_ADVICE}."


def undescribed(contract: Node) -> list[str]:
    """Return a message for each part of an OpenAPI document that has no description."""
    return [
        f"The contract does not describe {what}: {advice}" for what, advice in _missing(contract)
    ]


def _missing(contract: Node) -> Iterator[tuple[str, str]]:
    for name, schema in contract.get("components", {}).get("schemas", {}).items():
        if not _is_described(schema):
            yield f"the schema {name}", _DOCSTRING
        yield from _properties(name, schema)
    for path, operations in contract.get("paths", {}).items():
        for method, operation in operations.items():
            yield from _of_operation(f"{method.upper()} {path}", operation)


def _of_operation(name: str, operation: Node) -> Iterator[tuple[str, str]]:
    if not _is_described(operation):
        yield f"the operation {name}", _DOCSTRING
    for parameter in operation.get("parameters", ()):
        if not _is_described(parameter):
            where, what = parameter.get("in"), parameter.get("name")
            yield f"the {where} parameter `{what}` of {name}", _IN_PARAMETER
    for media in operation.get("requestBody", {}).get("content", {}).values():
        yield from _properties(f"the body of {name}", media.get("schema", {}))


def _properties(name: str, schema: Node) -> Iterator[tuple[str, str]]:
    """Check the properties of a schema and its inline schemas; references are checked elsewhere."""
    for field, inner in schema.get("properties", {}).items():
        if not _is_described(inner):
            yield f"the property `{field}` of {name}", _UNDER_FIELD
        yield from _properties(f"{name}.{field}", inner)
    for inner in _inside(schema):
        yield from _properties(name, inner)


def _inside(schema: Node) -> Iterator[Node]:
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        yield from schema.get(word, ())
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), Mapping):
            yield schema[word]


def _is_described(node: Node) -> bool:
    return bool(str(node.get("description", "")).strip())
