"""docs/job-spec.md: every field of a job spec, from the contract."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Node = Mapping[str, Any]
HEAD = """# The job spec

Generated from `app/core/jobs/spec.py` by `make docs`. This is the body of `POST /jobs`, and the
file that `tunesmith submit` takes; `--set training.learning_rate=1e-4` overrides a field by the
name shown here. Only `model` and `dataset` are required. A field that is left out has the default
of the `recipe`, else the default given here. An unknown field is an error.

`POST /jobs?dry_run=true` checks a spec without creating a job: see [dry-run.md](dry-run.md).
"""
_TABLE = """
| field | type and allowed values | unit | default | meaning |
|---|---|---|---|---|
"""
_TYPES = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "`true` or `false`",
    "array": "list",
    "object": "object",
    "null": "null",
}
_LIMITS = (
    ("exclusiveMinimum", "above"),
    ("minimum", "at least"),
    ("exclusiveMaximum", "below"),
    ("maximum", "at most"),
)
_SIZES = (
    ("minLength", "maxLength", "characters"),
    ("minItems", "maxItems", "entries"),
    ("minProperties", "maxProperties", "pairs"),
)


def spec_page(schemas: Node) -> str:
    return HEAD + "".join(_sections(schemas, "JobSpec", ""))


def _sections(schemas: Node, name: str, prefix: str) -> Iterator[str]:
    schema = schemas[name]
    title = f"`{prefix.rstrip('.')}`" if prefix else "Fields"
    rows, inner = [], []
    for field, node in schema["properties"].items():
        reference = _reference(node)
        rows.append(_row(f"{prefix}{field}", node, reference, field in schema.get("required", ())))
        if reference:
            inner.append((reference, f"{prefix}{field}."))
    about = "" if not prefix else f"\n{_line(schema['description'])}\n"
    yield f"\n## {title}\n{about}{_TABLE}" + "".join(rows)
    for reference, path in inner:
        yield from _sections(schemas, reference, path)


def _row(name: str, node: Node, reference: str | None, is_required: bool) -> str:
    kind = "object, below" if reference else allowed(node)
    if reference and _allows_null(node):
        kind += "; or null"
    default = "required" if is_required else _default(node, reference)
    cells = (f"`{name}`", kind, node.get("x-unit", ""), default, _line(node["description"]))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def allowed(node: Node) -> str:
    """Return the type and the allowed values of a field, in words."""
    branches = node.get("anyOf")
    if branches:
        return "; or ".join(allowed(branch) for branch in branches)
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    parts = [f"{word} {_number(node[key])}" for key, word in _LIMITS if key in node]
    parts += [_size(node, *names) for names in _SIZES if names[0] in node or names[1] in node]
    parts += [f"matching `{node['pattern']}`"] if "pattern" in node else []
    inner = node.get("items") or node.get("additionalProperties")
    if isinstance(inner, Mapping):
        parts.append(f"each {allowed(inner)}")
    return ", ".join([_TYPES[node["type"]], *parts])


def _size(node: Node, least: str, most: str, what: str) -> str:
    if least not in node:
        return f"at most {node[most]:,} {what}"
    return (
        f"{node[least]:,} to {node[most]:,} {what}" if most in node else f"{node[least]:,} or more"
    )


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _default(node: Node, reference: str | None) -> str:
    if reference and node.get("default") is not None:
        return "those below"
    return f"`{json.dumps(node['default'])}`"


def _reference(node: Node) -> str | None:
    for branch in (node, *node.get("anyOf", ())):
        if "$ref" in branch:
            return str(branch["$ref"]).rpartition("/")[2]
    return None


def _allows_null(node: Node) -> bool:
    return any(branch.get("type") == "null" for branch in node.get("anyOf", ()))


def _line(text: str) -> str:
    return " ".join(text.split())
