"""Turns rows into sequences: packed without attending to each other, or one row each.

The dataset has one item per row, so that a batch is a number of rows; how they lie in memory is
decided here, when the batch is collated, and changes neither steps nor gradients. A sequence
carries the lengths of its rows. A batch gets `position_ids` that restart with each row and no
attention mask: with the cache off, this makes transformers build a mask per row.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from app.core.datasets.layout import grouping
from app.core.datasets.layout.long_rows import LongRows
from app.core.datasets.tokens.encoding import IGNORED, Example

__all__ = ["IGNORED", "Example", "TokenSequence"]


@dataclass(frozen=True)
class TokenSequence:
    input_ids: list[int]
    labels: list[int]
    lengths: list[int]
    """Lengths of its rows, in order."""


def positions(lengths: Sequence[int], width: int) -> list[int]:
    """Position ids, from 0 in each row. Padding continues the last row, which cannot see it."""
    counted = [place for length in lengths for place in range(length)]
    following = lengths[-1]
    return counted + list(range(following, following + width - len(counted)))


def rows_of(
    examples: Iterable[Example], max_length: int, long_rows: LongRows
) -> list[TokenSequence]:
    """One item per row; its pieces, each as long as `lengths` says, stay one row of the batch."""
    parts = (grouping.parts_of(each, max_length, long_rows) for each in examples)
    return [sequence_of(each) for each in parts if each]


def collator(
    pad_id: int, pack_length: int | None = None
) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Return a collator that lays out the rows of a batch: packed into sequences of `pack_length`
    tokens or, without, each piece in a sequence of its own. See `padded` for what it returns.
    """

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        pieces = [piece for row in batch for piece in _pieces(row)]
        groups = grouping.in_sequences(pieces, pack_length)
        return padded([sequence_of(each) for each in groups], pad_id)

    return collate


def padded(sequences: Sequence[TokenSequence], pad_id: int) -> dict[str, Any]:
    """Return sequences as tensors, padded on the right to the longest: [sequences, tokens].

    `num_tokens` and `num_trained` of each do not count padding; `trainer` removes them again.
    """
    import torch

    width = max(len(each.input_ids) for each in sequences)
    rows = [_padded(each, width, pad_id) for each in sequences]
    return {
        **{key: torch.tensor([row[key] for row in rows]) for key in rows[0]},
        "num_tokens": [len(each.input_ids) for each in sequences],
        "num_trained": [sum(each != IGNORED for each in row["labels"][1:]) for row in rows],
    }


def micro_batches(batch: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
    """Divide a collated batch: a row that is split may take more sequences than the batch has rows,
    and memory is planned for one to a row.
    """
    for start in range(0, len(batch["input_ids"]), size):
        yield {key: value[start : start + size] for key, value in batch.items()}


def _pieces(row: dict[str, Any]) -> list[Example]:
    """The pieces of a row, as examples of their own."""
    ids, labels = list(row["input_ids"]), list(row["labels"])
    ends = list(accumulate(row["lengths"]))
    starts = [0, *ends[:-1]]
    return [
        Example(ids[start:end], labels[start:end], 0)
        for start, end in zip(starts, ends, strict=True)
    ]


def _padded(sequence: TokenSequence, width: int, pad_id: int) -> dict[str, list[int]]:
    ids, labels = sequence.input_ids, sequence.labels
    missing = width - len(ids)
    return {
        "input_ids": ids + [pad_id] * missing,
        "labels": labels + [IGNORED] * missing,
        "position_ids": positions(sequence.lengths, width),
    }


def sequence_of(parts: list[Example]) -> TokenSequence:
    # A row's first token must not be predicted from the last token of the row before it.
    labels = [label for part in parts for label in [IGNORED, *part.labels[1:]]]
    ids = [token for part in parts for token in part.input_ids]
    return TokenSequence(ids, labels, [len(part.input_ids) for part in parts])
