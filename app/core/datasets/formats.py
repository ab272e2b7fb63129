"""The canonical row: every accepted form becomes it once; trainer, preview and report share it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict


class Row(TypedDict, total=False):
    """An Alpaca row after validation. Strings only; absent keys are absent, never None."""

    instruction: str
    input: str
    """Absent or empty: the template without an input is used."""
    output: str
    system: str
    history: list[list[str]]
    """Earlier turns, oldest first, each [instruction, response]."""
    weights: list[int]
    """Which answers are trained, 1 or 0 each: those of `history` in order, then `output`. Absent:
    `output` alone."""
    text: str
    """A ready text, where the upload had one (template `text`)."""


COLUMNS = ("instruction", "input", "output", "system", "history", "weights", "text")
"""In the order they are written and shown."""


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a canonical file: JSON lines, UTF-8, already validated."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


@dataclass(frozen=True)
class Other:
    """A value that JSON has no like of, as a date in a Parquet column."""

    kind: str
