"""Read tools and tool calls, as OpenAI, ShareGPT and their relatives write them, in OpenAI's form.

The arguments of a call become an object, which is what chat templates expect.
"""

from math import isfinite
from typing import Any

from app.core.datasets.checking.rows import Wrong, name_type
from app.core.datasets.formats import Other
from app.core.datasets.reading.parse import Fault, parse

TOOLS = ("tools", "functions")
"""Columns of a row that list the tools; the second is OpenAI's older name."""

_ARGUMENTS = ("arguments", "parameters")
"""Keys of a call that hold its arguments; the second is Llama's."""
_BESIDE = frozenset({"name", "type", "id", "index", "description", *_ARGUMENTS})
"""Keys that no arguments are in."""


def tools_of(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tools of a row, [] if it has none. Raises Wrong."""
    key = next((name for name in TOOLS if value.get(name)), None)
    if key is None:
        return []
    found = _parsed(value[key], key, "tools_invalid")
    if not isinstance(found, list):
        raise Wrong(key, "tools_invalid", f"`{key}` is {name_type(found)}, not a list of tools.")
    return [_tool(each, f"{key}/{at}") for at, each in enumerate(found)]


def calls_of(message: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """Return the tool calls of an assistant's message, [] if it has none. Raises Wrong."""
    if message.get("tool_calls"):
        return read_calls(message["tool_calls"], f"{field}/tool_calls")
    if message.get("function_call"):
        return read_calls([message["function_call"]], f"{field}/function_call")
    return []


def read_calls(given: Any, field: str) -> list[dict[str, Any]]:
    """Read one call or a list of them, also as JSON text. Raises Wrong."""
    found = _parsed(given, field, "tool_call_invalid")
    calls = found if isinstance(found, list) else [found]
    if not calls:
        raise Wrong(field, "tool_call_invalid", "There is no call in it.")
    return [_call(each, f"{field}/{at}") for at, each in enumerate(calls)]


def _tool(given: Any, field: str) -> dict[str, Any]:
    tool = _parsed(given, field, "tools_invalid")
    if isinstance(tool, dict) and "function" not in tool and "name" in tool:
        tool = {"type": "function", "function": tool}
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not _is_name(function.get("name")):
        raise Wrong(field, "tools_invalid", "A tool has no function with a name.")
    return {"type": "function", **tool}


def _call(given: Any, field: str) -> dict[str, Any]:
    call = _parsed(given, field, "tool_call_invalid")
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not _is_name(function.get("name")):
        raise Wrong(field, "tool_call_invalid", "A tool call names no function.")
    arguments = _arguments(function, field)
    arguments = _parsed(arguments, field, "tool_call_invalid")
    if not isinstance(arguments, dict):
        message = f"The arguments of a tool call are {name_type(arguments)}, not an object."
        raise Wrong(field, "tool_call_invalid", message)
    named = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    function = {"name": function["name"], "arguments": arguments}
    return {**named, "type": "function", "function": function}


def _arguments(function: dict[str, Any], field: str) -> Any:
    """Return the arguments of a call, {} without any. Raises Wrong if another key may hold them."""
    for name in _ARGUMENTS:
        if function.get(name) not in (None, ""):
            return function[name]
    others = [name for name, value in function.items() if name not in _BESIDE and value]
    if others:
        message = (
            f"A tool call has no `arguments`, and its key {ascii(others[0])[:60]} is not read."
        )
        raise Wrong(field, "tool_call_invalid", message)
    return {}


def _parsed(given: Any, field: str, code: str) -> Any:
    """Return the value of a JSON text, or a JSON value as it is."""
    if not isinstance(given, str):
        check_json(given, field, code)
        return given
    try:
        return parse(given)
    except Fault as fault:
        raise Wrong(field, code, f"It is text, but not JSON: {fault.message}") from None


def check_json(given: Any, field: str, code: str) -> None:
    """Raise Wrong for a value that JSON cannot hold, which a Parquet column may contain."""
    if isinstance(given, dict | list):
        for each in given.values() if isinstance(given, dict) else given:
            check_json(each, field, code)
    elif isinstance(given, Other | bytes) or (isinstance(given, float) and not isfinite(given)):
        raise Wrong(field, code, f"A value in it is {name_type(given)} that JSON cannot hold.")


def _is_name(given: Any) -> bool:
    return isinstance(given, str) and bool(given.strip())
