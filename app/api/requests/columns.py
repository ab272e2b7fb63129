"""The field `columns`: a JSON object that maps canonical columns to those of the file."""

import json
from typing import Annotated, Any

from pydantic import WithJsonSchema

from app.core.datasets.columns import TARGETS
from app.core.errors import Invalid, Problem

_MAX_NAME = 500
_HINT = 'For example: columns={"instruction":"question","output":"answer"}'
_CONTENT = {
    "instruction": "the instruction, that is, the prompt",
    "input": "the input that the instruction refers to",
    "output": "the answer",
    "system": "the system message",
    "history": "earlier turns, a list of pairs [instruction, answer]",
    "weights": "the weights of the answers, a list of 1 (trained) and 0, those of `history` first",
    "text": "the complete text, for template `text`",
    "messages": "the messages of a conversation",
    "tools": "the tools that the model may call, a list of functions with JSON schemas",
}
COLUMNS_SCHEMA = {
    "type": "object",
    "description": f"Mapping from canonical columns to those of the file. {_HINT}",
    "properties": {
        name: {
            "type": "string",
            "minLength": 1,
            "maxLength": _MAX_NAME,
            "description": f"Column of the file that contains {_CONTENT[name]}.",
        }
        for name in TARGETS
    },
    "additionalProperties": False,
}
Columns = Annotated[dict[str, str], WithJsonSchema(COLUMNS_SCHEMA)]
"""The mapping in a JSON body; `check_columns` validates it."""


def parse_columns(text: str) -> dict[str, str]:
    """Parse the mapping. Raises Invalid with every problem found."""
    try:
        columns = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        columns = None
    return check_columns(columns)


def check_columns(columns: Any) -> dict[str, str]:
    """Return the mapping if it is valid. Raises Invalid with every problem found."""
    if not isinstance(columns, dict) or not columns:
        message = "This must be a JSON object whose values are strings."
        raise _invalid([Problem("/columns", "wrong_format", message, _HINT)])
    if problems := [flaw for each in columns.items() for flaw in _check(*each)]:
        raise _invalid(problems)
    if "messages" in columns and not columns.keys() <= {"messages", "system", "tools"}:
        message = "`messages` can only be combined with `system` and `tools`."
        raise _invalid([Problem("/columns", "invalid_combination", message, _HINT)])
    return columns


def _check(name: str, source: Any) -> list[Problem]:
    pointer = "/columns/" + name[:80].replace("~", "~0").replace("/", "~1")
    if name not in TARGETS:
        message = f"Unknown column; the columns are {', '.join(TARGETS)}."
        return [Problem(pointer, "unknown_field", message, _HINT)]
    if not isinstance(source, str) or not _is_name(source):
        message = "This must be the name of a column in the file."
        return [Problem(pointer, "wrong_format", message, _HINT)]
    return []


def _is_name(source: str) -> bool:
    if not 1 <= len(source) <= _MAX_NAME or "\0" in source:
        return False
    try:
        source.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)


def _invalid(problems: list[Problem]) -> Invalid:
    return Invalid("The column mapping is invalid; see `errors`.", errors=problems)
