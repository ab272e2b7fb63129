"""The caller's mapping of columns, ours to the upload's: applied, and suggested where it helps."""

import json
from collections.abc import Mapping
from typing import Any

from app.core.datasets.formats import COLUMNS

TARGETS = (*COLUMNS, "messages")
DECIDING = ("instruction", "output", "text", "messages")
"""Whoever maps one of these has said what form the rows have."""
_NEEDED = ("instruction", "output")
# What other formats call them; only ever used for a hint.
_OTHER_NAMES = {
    "instruction": (
        "instructions", "prompt", "question", "query", "request", "task", "user", "human", "input",
    ),
    "output": (
        "outputs", "response", "completion", "answer", "target", "reply", "assistant",
        "response_text", "answers",
    ),
    "messages": ("message", "conversations", "conversation", "dialogue", "dialog", "chat", "turns"),
    "text": ("texts", "content", "body", "document"),
}  # fmt: skip
_MAX_SHOWN = 8
_MAX_NAME = 80


def rename(value: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """With our names; a column that serves under one of them no longer has its own."""
    if not columns:
        return value
    gone = {*columns, *columns.values()}
    rest = {name: found for name, found in value.items() if name not in gone}
    return rest | {ours: value[name] for ours, name in columns.items() if name in value}


def suggest(value: dict[str, Any], columns: Mapping[str, str]) -> str:
    """A hint for a row that lacks a column: the mapping to send. "" where there is no telling."""
    shown = [name for name in reversed(value) if len(name) <= _MAX_NAME and name.isprintable()]
    alike = {name.strip().lower(): name for name in shown}
    if not alike:
        return ""
    kept = {ours: name for ours, name in columns.items() if name in value}
    found = kept | _find(value, alike, kept)
    if all(name in found or name in value for name in _NEEDED) or {"text", "messages"} & set(found):
        return f"Send this field with the file: columns={_dump(found)}"
    names = [f"`{name}`" for name in list(alike.values())[: -_MAX_SHOWN - 1 : -1]]
    example = _dump({name: found.get(name, "...") for name in _NEEDED if name not in value})
    return f"Say which columns are meant, of {', '.join(names)}: columns={example}"


def _find(
    value: dict[str, Any], alike: Mapping[str, str], kept: Mapping[str, str]
) -> dict[str, str]:
    """The pair, else a conversation, else a text."""
    free = {name: there for name, there in alike.items() if there not in kept.values()}
    pair = {}
    for ours in _NEEDED:
        if ours in kept or ours in value:
            continue
        if name := _like(ours, free):
            pair[ours] = name
    if all(ours in pair or ours in kept or ours in value for ours in _NEEDED):
        return pair
    for ours, kind in (("messages", list), ("text", str)):
        name = _like(ours, free)
        if name and isinstance(value[name], kind) and not pair:
            return {ours: name}
    return pair


def _like(ours: str, alike: Mapping[str, str]) -> str:
    return next((alike[name] for name in (ours, *_OTHER_NAMES[ours]) if name in alike), "")


def _dump(columns: Mapping[str, str]) -> str:
    return json.dumps(columns, ensure_ascii=False, separators=(",", ":"))
