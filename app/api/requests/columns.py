"""The field `columns`: a JSON object, our column to the upload's."""

import json
from typing import Annotated, Any

from pydantic import WithJsonSchema

from app.core.datasets.columns import TARGETS
from app.core.errors import Invalid, Problem

_MAX_NAME = 500
_HINT = 'For example: columns={"instruction":"question","output":"answer"}'
_HOLDS = {
    "instruction": "the instruction of a row, its prompt",
    "input": "the input that an instruction refers to",
    "output": "the answer of a row",
    "system": "the system message",
    "history": "the earlier turns, a list of pairs [instruction, answer]",
    "weights": "which answers are trained: a list of 1 and 0, those of `history` first",
    "text": "a ready text, for template `text`",
    "messages": "the messages of a conversation",
}
COLUMNS_SCHEMA = {
    "type": "object",
    "description": f"Column mapping from the canonical column to the file's. {_HINT}",
    "properties": {
        name: {
            "type": "string",
            "minLength": 1,
            "maxLength": _MAX_NAME,
            "description": f"Column of the file that holds {_HOLDS[name]}.",
        }
        for name in TARGETS
    },
    "additionalProperties": False,
}
Columns = Annotated[dict[str, str], WithJsonSchema(COLUMNS_SCHEMA)]
"""In a JSON body; `check_columns` says what is wrong with it."""


def parse_columns(text: str) -> dict[str, str]:
    """Raises Invalid, with everything that is wrong."""
    try:
        columns = json.loads(text, object_pairs_hook=_pairs)
    except (ValueError, RecursionError):
        columns = None
    return check_columns(columns)


def check_columns(columns: Any) -> dict[str, str]:
    """Raises Invalid, with everything that is wrong."""
    if not isinstance(columns, dict) or not columns:
        raise _invalid([Problem("/columns", "wrong_format", "A JSON object of texts.", _HINT)])
    if problems := [flaw for each in columns.items() for flaw in _check(*each)]:
        raise _invalid(problems)
    if "messages" in columns and not columns.keys() <= {"messages", "system"}:
        message = "Beside `messages` there is only `system`."
        raise _invalid([Problem("/columns", "invalid_combination", message, _HINT)])
    return columns


def _check(name: str, source: Any) -> list[Problem]:
    pointer = "/columns/" + name[:80].replace("~", "~0").replace("/", "~1")
    if name not in TARGETS:
        message = f"We have no such column; we have {', '.join(TARGETS)}."
        return [Problem(pointer, "unknown_field", message, _HINT)]
    if not isinstance(source, str) or not _is_name(source):
        return [Problem(pointer, "wrong_format", "The name of a column in the file.", _HINT)]
    return []


def _is_name(source: str) -> bool:
    if not 1 <= len(source) <= _MAX_NAME or "\0" in source:
        return False
    try:
        source.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _invalid(problems: list[Problem]) -> Invalid:
    return Invalid("The mapping of columns is not right; see `errors`.", errors=problems)
