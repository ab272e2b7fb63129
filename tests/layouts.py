"""Layouts of many rows, as `worker.training.packing` would lay them out if they were one batch."""

from typing import Any

from app.core.datasets.layout.grouping import in_sequences, parts_of
from app.core.datasets.layout.long_rows import usual
from worker.training.packing import TokenSequence, sequence_of


def grouped(rows: Any, length: int, *, packed: bool, long_rows: Any = None) -> list[list[Any]]:
    """The parts of each sequence if all rows were one batch."""
    choice = long_rows or usual(packed=packed)
    parts = [part for each in rows for part in parts_of(each, length, choice)]
    return in_sequences(parts, length if packed else None)


def alone(examples: Any, length: int) -> list[TokenSequence]:
    return [sequence_of(each) for each in grouped(examples, length, packed=False)]


def packed(examples: Any, length: int) -> list[TokenSequence]:
    return [sequence_of(each) for each in grouped(examples, length, packed=True)]
