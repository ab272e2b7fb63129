"""Turns rows into sequences: packed without attending to each other, or one row each.

A sequence carries the lengths of its rows. A batch gets `position_ids` that restart with each row
and no attention mask: with the cache off, this makes transformers build a mask per row.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.datasets.layout import grouping
from app.core.datasets.layout.long_rows import LongRows
from app.core.datasets.tokens.encoding import IGNORED, Example

__all__ = ["IGNORED", "Example", "TokenSequence", "alone", "collator", "packed"]


@dataclass(frozen=True)
class TokenSequence:
    input_ids: list[int]
    labels: list[int]
    lengths: list[int]
    """Lengths of its rows, in order."""


def alone(
    examples: Iterable[Example], max_length: int, long_rows: LongRows | None = None
) -> list[TokenSequence]:
    """One sequence per row; a row longer than `max_length` is truncated, if not said otherwise."""
    groups = grouping.grouped(examples, max_length, packed=False, long_rows=long_rows)
    return [_sequence(each) for each in groups]


def packed(
    examples: Iterable[Example], max_length: int, long_rows: LongRows | None = None
) -> list[TokenSequence]:
    """Several rows per sequence; a row longer than `max_length` is split, if not said otherwise."""
    groups = grouping.grouped(examples, max_length, packed=True, long_rows=long_rows)
    return [_sequence(each) for each in groups]


def positions(lengths: Sequence[int], width: int) -> list[int]:
    """Position ids, from 0 in each row. Padding continues the last row, which cannot see it."""
    counted = [place for length in lengths for place in range(length)]
    following = lengths[-1]
    return counted + list(range(following, following + width - len(counted)))


def collator(pad_id: int) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Return a collator that pads sequences on the right to the longest.

    Its `num_tokens` and `num_trained` do not count padding; `trainer` removes them again.
    """
    import torch

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        width = max(len(each["input_ids"]) for each in batch)
        rows = [_padded(each, width, pad_id) for each in batch]
        tensors = {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}
        return {
            **tensors,
            "num_tokens": sum(len(each["input_ids"]) for each in batch),
            "num_trained": int((tensors["labels"][:, 1:] != IGNORED).sum()),
        }

    return collate


def _padded(sequence: dict[str, Any], width: int, pad_id: int) -> dict[str, list[int]]:
    ids, labels = list(sequence["input_ids"]), list(sequence["labels"])
    missing = width - len(ids)
    return {
        "input_ids": ids + [pad_id] * missing,
        "labels": labels + [IGNORED] * missing,
        "position_ids": positions(sequence["lengths"], width),
    }


def _sequence(parts: list[Example]) -> TokenSequence:
    # A row's first token must not be predicted from the last token of the row before it.
    labels = [label for part in parts for label in [IGNORED, *part.labels[1:]]]
    ids = [token for part in parts for token in part.input_ids]
    return TokenSequence(ids, labels, [len(part.input_ids) for part in parts])
