"""The contract as one HTML page: readable without JavaScript and without any other server."""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from app.api.answers.html import page

Node = Mapping[str, Any]
_REFERENCE = "#/components/schemas/"
_LIMITS = (
    *(("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<")),
    *(("minLength", "length >="), ("maxLength", "length <="), ("pattern", "matches")),
    *(("minItems", "entries >="), ("maxItems", "entries <="), ("maxProperties", "pairs <=")),
)


def contract_page(contract: Node) -> str:
    """Render an OpenAPI document: operations by tag, then the schemas they refer to."""
    info, schemas = contract["info"], contract["components"]["schemas"]
    parts = [
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{prose(info['description'])} For programs: <a href='/openapi.json'>openapi.json</a>. "
        "Errors are problem documents (RFC 9457): see <a href='#Problem'>Problem</a>.</p>",
        "<h2>Operations</h2>",
        *_index(contract),
        *(_operation(*each) for each in _operations(contract)),
        "<h2>Schemas</h2>",
        *(_schema(name, schema) for name, schema in sorted(schemas.items())),
    ]
    return page(f"{info['title']}: the HTTP contract", "".join(parts))


def prose(text: str) -> str:
    """Escape a description and mark its code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(" ".join(text.split()), quote=False))


def _operations(contract: Node) -> Iterator[tuple[str, str, Node]]:
    for path, operations in contract["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def _index(contract: Node) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {}
    for method, path, operation in _operations(contract):
        tag = (operation.get("tags") or ["service"])[0]
        link = f"<a href='#{operation['operationId']}'>{method} {escape(path)}</a>"
        by_tag.setdefault(tag, []).append(f"<li>{link}")
    for tag, links in by_tag.items():
        yield f"<h3>{escape(tag)}</h3><ul class='index'>{''.join(links)}</ul>"


def _operation(method: str, path: str, operation: Node) -> str:
    lines = [f"<h3 id='{operation['operationId']}'>{method} {escape(path)}</h3>"]
    lines.append(f"<p>{prose(operation.get('description', ''))}</p>")
    rows = [
        _row(each["name"], {**each["schema"], **each}, each.get("required", False), each["in"])
        for each in operation.get("parameters", ())
    ]
    if rows:
        lines.append(f"<table>{''.join(rows)}</table>")
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        schema = media.get("schema", {})
        lines.append(f"<p>Body ({escape(kind)}): {_type(schema)}</p>{_fields(schema)}")
    for status, response in operation["responses"].items():
        lines.append(_response(status, response))
    return "".join(lines)


def _response(status: str, response: Node) -> str:
    kinds = [
        f"{escape(kind)}: {_type(media.get('schema', {}))}"
        for kind, media in response.get("content", {}).items()
    ]
    told = "" if status == "default" else prose(response.get("description", ""))
    label = "Error" if status == "default" else status
    return f"<p class='answer'><b>{label}</b> {told} {'; '.join(kinds)}</p>"


def _schema(name: str, schema: Node) -> str:
    about = prose(schema.get("description", ""))
    kind = "" if "properties" in schema else f"<p>{_type(schema)}</p>"
    return f"<h3 id='{escape(name)}'>{escape(name)}</h3><p>{about}</p>{kind}{_fields(schema)}"


def _fields(schema: Node) -> str:
    required = schema.get("required", ())
    rows = [_row(n, node, n in required, "") for n, node in schema.get("properties", {}).items()]
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _row(name: str, node: Node, is_required: bool, where: str) -> str:
    notes = [where] if where in ("path", "header") else []
    notes += ["required"] if is_required and where != "path" else []
    if "default" in node:
        notes.append(f"default <code>{escape(json.dumps(node['default']))}</code>")
    if node.get("x-unit", "none") != "none":
        notes.append(f"unit: {escape(node['x-unit'])}")
    note = f"<br><small>{', '.join(notes)}</small>" if notes else ""
    told = prose(node.get("description", ""))
    return f"<tr><td><code>{escape(name)}</code><td>{_type(node)}{note}<td>{told}"


def _type(node: Node) -> str:
    """Return the type of a value and what limits it; schemas are links."""
    if "$ref" in node:
        name = escape(str(node["$ref"]).removeprefix(_REFERENCE))
        return f"<a href='#{name}'>{name}</a>"
    for word in ("anyOf", "oneOf"):
        if word in node:
            return " or ".join(_type(branch) for branch in node[word])
    if "enum" in node or "const" in node:
        values = node.get("enum", [node.get("const")])
        return " | ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    kind = escape(str(node.get("type", "any")))
    if isinstance(node.get("items"), Mapping):
        kind = f"array of {_type(node['items'])}"
    limits = [escape(f"{word} {node[key]}") for key, word in _LIMITS if key in node]
    return f"{kind} <small>{', '.join(limits)}</small>" if limits else kind
