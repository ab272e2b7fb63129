"""Read canonical rows and check each again: in a run by hand, they were never validated."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.core.datasets.formats import Row
from app.core.datasets.tokens.templates import (
    NO_TOOLS_HINT,
    is_chat,
    needed_columns,
    optional_columns,
)
from app.core.jobs.failures import BadData, BadRow


def read_rows(path: Path, template: str) -> Iterator[tuple[int, Row]]:
    """Yield numbered rows. Raises BadData or BadRow."""
    number = -1
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                yield number, _row(line, number, template)
    except OSError as error:
        raise BadData(f"The rows cannot be read: {error.strerror}.") from error
    if number < 0:
        raise BadData("The dataset has no rows.", hint="Upload at least one row.")


def _row(line: bytes, number: int, template: str) -> Row:
    try:
        row: Row = json.loads(line.decode("utf-8"))
    except ValueError as error:
        raise BadRow("row_not_json", number, "", f"not JSON: {error}") from error
    check_row(row, number, template)
    return row


def check_row(row: Any, number: int, template: str) -> None:
    if not isinstance(row, dict):
        raise BadRow("row_not_an_object", number, "", "the row is not a JSON object")
    if "messages" in row:
        _check_messages(row, number, template)
        return
    for column in needed_columns(template):
        if column not in row:
            have = ", ".join(sorted(row)) or "none"
            raise BadRow("column_missing", number, column, f"missing; the row has {have}")
        _check_text(row[column], number, column)
    for column in optional_columns(template):
        if column in row:
            _check_text(row[column], number, column)
    history = row.get("history", [])
    for turn in history if isinstance(history, list) else [None]:
        if not (
            isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn)
        ):
            raise BadRow("value_not_text", number, "history", "a turn is not two strings")
    thoughts = row.get("reasoning", [])
    if "reasoning" in row and not (
        isinstance(thoughts, list)
        and len(thoughts) == len(history) + 1
        and all(isinstance(each, str) for each in thoughts)
    ):
        raise BadRow("value_not_text", number, "reasoning", "not a text for each answer")
    weights = row.get("weights", [])
    if "weights" in row and not (
        isinstance(weights, list)
        and len(weights) == len(history) + 1
        and all(type(each) is int and each in (0, 1) for each in weights)
    ):
        raise BadRow("weights_invalid", number, "weights", "not a 0 or 1 for each answer")


def _check_messages(row: Any, number: int, template: str) -> None:
    if not is_chat(template):
        problem = f'template "{template}" cannot write tool calls'
        raise BadRow("tool_calls_hidden", number, "messages", problem, NO_TOOLS_HINT)
    messages = row["messages"]
    for each in messages if isinstance(messages, list) and messages else [None]:
        if not (isinstance(each, dict) and {"role", "content"} <= each.keys()):
            raise BadRow("value_not_text", number, "messages", "a message lacks role or content")
        _check_text(each["content"], number, "messages")
    if messages[-1]["role"] != "assistant":
        raise BadRow("value_not_text", number, "messages", "the last message is not an answer")


def _check_text(value: Any, number: int, column: str) -> None:
    if not isinstance(value, str):
        raise BadRow("value_not_text", number, column, f"{type(value).__name__} instead of text")
