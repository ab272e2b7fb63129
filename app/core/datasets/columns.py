"""Column mappings, canonical names to upload names: apply the caller's, or suggest one."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from app.core.datasets.formats import COLUMNS

TARGETS = (*COLUMNS, "messages", "tools")
DECIDING = ("instruction", "output", "text", "messages")
"""A mapping of any of these determines the row format."""
_NEEDED = ("instruction", "output")
# Names that other formats use; only for hints.
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
# Suggested along with a pair: without them, following the hint would drop part of the prompt.
_BESIDE = {"input": ("input", "context"), "system": ("system", "system_prompt")}
_IN_A_ROW = frozenset(
    {*COLUMNS, "prompt", "completion", "response", "question", "messages", "conversations"}
)
_LISTS = ("history", "weights", "messages", "conversations", "tools")
_MEANT = frozenset(
    {
        *("instruction", "input", "output", "system", "system_prompt", "context"),
        *_OTHER_NAMES["instruction"],
        *_OTHER_NAMES["output"],
    }
)
"""Names of texts that belong to a row."""
_MAX_SHOWN = 8
_MAX_NAME = 80


def rename(value: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Rename the mapped columns to canonical names.

    An unmapped column that already has one of these names is dropped.
    """
    if not columns:
        return value
    gone = {*columns, *columns.values()}
    rest = {name: found for name, found in value.items() if name not in gone}
    return rest | {ours: value[name] for ours, name in columns.items() if name in value}


def holding_lists(columns: Mapping[str, str]) -> frozenset[str]:
    """Return the columns of a CSV file whose cells are lists, written as JSON."""
    texts = {name for ours, name in columns.items() if ours not in _LISTS}
    return frozenset(columns.get(ours, ours) for ours in _LISTS) - texts


def suggest(value: dict[str, Any], columns: Mapping[str, str]) -> str:
    """Return a hint for a row that lacks a column: the mapping to send, or "" if there is none."""
    shown = [name for name in reversed(value) if len(name) <= _MAX_NAME and name.isprintable()]
    alike = {name.strip().lower(): name for name in shown}
    if not alike:
        return ""
    kept = {ours: name for ours, name in columns.items() if name in value}
    if hint := _not_rows(value):
        return hint
    found = kept | _find(value, alike, kept)
    if all(name in found or name in value for name in _NEEDED) or {"text", "messages"} & set(found):
        left = ", ".join(f"`{name}`" for name in _left_out(value, found))
        but = f", which leaves out {left}" if left else ""
        return f"Send this field with the file{but}: columns={dump_columns(found)}"
    names = [f"`{name}`" for name in list(alike.values())[: -_MAX_SHOWN - 1 : -1]]
    example = dump_columns({name: found.get(name, "...") for name in _NEEDED if name not in value})
    return f"Map the columns of the upload ({', '.join(names)}): columns={example}"


def _find(
    value: dict[str, Any], alike: Mapping[str, str], kept: Mapping[str, str]
) -> dict[str, str]:
    """Find a request and an answer, else a conversation, else a text."""
    free = {name: there for name, there in alike.items() if there not in kept.values()}
    texts = {name: there for name, there in free.items() if not _is_nested(value[there])}
    filled = {name: there for name, there in texts.items() if _says(value, there)}
    pair = {}
    for ours in _NEEDED:
        if ours in kept or ours in value:
            continue
        names = (ours, *_OTHER_NAMES[ours])
        if name := _like(names, filled) or _like(names, texts):
            pair[ours] = name
    if all(ours in pair or ours in kept or ours in value for ours in _NEEDED):
        return pair | _beside(value, texts, {*kept, *pair}, {*pair.values()})
    is_whole = not _says(value, "output") and not kept
    for ours, fits in (("messages", _is_conversation), ("text", _is_text)):
        name = _like((ours, *_OTHER_NAMES[ours]), free)
        if not (name and fits(value[name]) and is_whole):
            continue
        if ours == "messages":
            return {ours: name} | _system_of(value, alike, name)
        if not pair and not _says(value, "instruction"):
            return {ours: name}
    return pair


def _system_of(value: dict[str, Any], alike: Mapping[str, str], chat: str) -> dict[str, str]:
    """Map a text beside a conversation to its system text, unless it has one."""
    first = value[chat][0] if isinstance(value[chat], list) and value[chat] else {}
    begins = isinstance(first, dict) and "system" in (first.get("role"), first.get("from"))
    names = ("instruction", *_BESIDE["system"][1:])
    name = next((alike[each] for each in names if each in alike and _says(value, alike[each])), "")
    return {"system": name} if name and not begins and not _says(value, "system") else {}


def _says(value: dict[str, Any], name: str) -> bool:
    found = value.get(name)
    return isinstance(found, str) and bool(found.strip())


def _left_out(value: dict[str, Any], found: Mapping[str, str]) -> list[str]:
    """Return the texts of an upload that a row mapped like this would not have."""
    if "messages" in found or "text" in found:
        read = {*found.values(), *(("system",) if "messages" in found else ())}
    else:
        read = {*found.values(), *(name for name in COLUMNS if name not in found)}
    meant = [name for name in value if name.strip().lower() in _MEANT]
    return [name for name in meant if name not in read and _says(value, name)]


def _beside(
    value: dict[str, Any], texts: Mapping[str, str], mapped: set[str], taken: set[str]
) -> dict[str, str]:
    left = {name: there for name, there in texts.items() if there not in taken}
    wanted = [ours for ours in _BESIDE if ours not in mapped and ours not in value]
    found = {ours: _like(_BESIDE[ours], left) for ours in wanted}
    if "instruction" not in mapped and not found.get("input", "-"):
        found["input"] = _like(_OTHER_NAMES["instruction"], left)
    return {ours: name for ours, name in found.items() if name}


def _like(names: Iterable[str], alike: Mapping[str, str]) -> str:
    return next((alike[name] for name in names if name in alike), "")


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_conversation(value: Any) -> bool:
    """Whether the value is a list, or a string that may hold one as JSON (a CSV cell)."""
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip()[:1] == "[")


def _not_rows(value: dict[str, Any]) -> str:
    """Return a hint if the object is a single message or contains the rows, else ""."""
    if {"role", "content"} <= value.keys() or {"from", "value"} <= value.keys():
        return 'This is a single message: put a conversation into {"messages": [...]}.'
    for name, found in value.items():
        if isinstance(found, list) and found and _is_like_a_row(found[0]):
            return f"The rows are in a list inside this object: {unwrap(name, value, found[0])}"
    if value and all(map(_is_like_a_row, value.values())):
        return "The rows are values of this object: upload a list of them, `jq '[.[]]' in > out`."
    return ""


def unwrap(name: str, value: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return how to upload the rows in a list of an object, each with what the object says of it.

    `row`: the first row, whose own columns are kept.
    """
    beside = [each for each, found in value.items() if each.strip().lower() in _MEANT and found]
    beside = [each for each in beside if isinstance(value[each], str)]
    is_plain = all(map(_is_plain, [name, *beside]))
    if not beside:
        way = f", `jq .{name} in > out`" if is_plain else ""
        return f"upload only the list{way}."
    names = ", ".join(f"`{each[:_MAX_NAME]}`" for each in beside)
    if not is_plain:
        return f"upload its items, each with {names} of the object."
    taken = {("system" if each in row else each): each for each in beside}
    kept = ", ".join(f"{ours}: $row.{each}" for ours, each in taken.items() if ours not in row)
    way = resend(f". as $row | .{name}[] | {{{kept}}} + .")
    return f"upload its items, each with {names} of the object: {way}"


def _is_plain(name: str) -> bool:
    return name.isidentifier() and name.isascii() and len(name) <= _MAX_NAME


def _is_like_a_row(value: Any) -> bool:
    return isinstance(value, dict) and not _IN_A_ROW.isdisjoint(value)


def resend(expression: str) -> str:
    """Return the command that makes rows of a file's objects, of a list or one after another."""
    each = 'if type == "array" then .[] else . end'
    return f"`jq -c '{each} | {expression}' in > out`."


def dump_columns(columns: Mapping[str, str]) -> str:
    return json.dumps(columns, ensure_ascii=False, separators=(",", ":"))
