"""The canonical row: uploads are converted to it once; trainer, preview and report share it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

Message = dict[str, Any]
"""A message in OpenAI's form; the arguments of a call are an object, not a string."""


class Row(TypedDict, total=False):
    """An Alpaca row after validation. Texts are strings; a missing value has no key, never None."""

    instruction: str
    input: str
    """If absent or empty, the template without an input is used."""
    output: str
    system: str
    history: list[list[str]]
    """Earlier turns, oldest first, each [instruction, response]."""
    weights: list[int]
    """For each answer 1 if it is trained, else 0: those of `history` in order, then `output`. If
    absent, only `output` is trained."""
    text: str
    """A complete text, if the upload had one (template `text`)."""
    reasoning: list[str]
    """For each answer what the model thinks before it, or "", in the order of `weights`."""
    tools: list[dict[str, Any]]
    """Functions that the model may call: {"type": "function", "function": {"name": ...}}."""
    messages: list[Message]
    """A conversation with tool calls, in place of all columns above. Every assistant message is
    trained unless its `weight` is 0."""


COLUMNS = ("instruction", "input", "output", "system", "history", "weights", "text")
"""Columns of rows without tools, in the order they are written and shown."""
CANONICAL = (*COLUMNS, "reasoning", "tools", "messages")
"""Every column of a canonical row, in order."""


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a canonical file: JSON Lines, UTF-8, already validated."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


@dataclass(frozen=True)
class Other:
    """A value without a JSON equivalent, such as a date in a Parquet column."""

    kind: str
