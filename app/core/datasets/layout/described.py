"""Count what a layout does with rows: the same figures for the trainer and the dry run."""

import random
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from heapq import nlargest
from typing import TypeVar

from app.core.datasets.layout.figures import LayoutFigures, LongRowCost, Numbered, Part
from app.core.datasets.layout.grouping import grouped, parts_of
from app.core.datasets.layout.long_rows import LongRows, usual
from app.core.datasets.layout.outline import Encoded
from app.core.datasets.layout.splits import Cost, Counts, Splits, count_cut

T = TypeVar("T", bound=Encoded)
SHOWN = 10


def describe(
    splits: Splits[T],
    max_length: int,
    *,
    packed: bool,
    long_rows: LongRows | None = None,
    batch: int = 1,
) -> LayoutFigures:
    """Return the figures of a layout in batches of `batch` rows. Does not modify `splits`."""
    counts = deepcopy(splits.counts)
    count_cut(splits.train, max_length, counts, packed=packed, long_rows=long_rows)
    laying = _Laying(max_length, packed, long_rows or usual(packed=packed), batch)

    def part(rows: Sequence[Encoded], counted: Counts) -> Part:
        return _part(counted, rows, laying)

    return LayoutFigures(
        train=part(splits.train, counts),
        held_out=part(splits.held_out, splits.held_counts) if splits.held_counts.rows else None,
        truncated=_numbered(counts.truncated),
        eos_lost=_numbered(counts.eos_lost),
        dropped=_numbered(counts.dropped),
        long_prompts=_numbered(counts.long_prompts),
        keeping_length=counts.keeping_length,
        refused=_numbered(counts.refused),
        refusal=counts.refusal,
        long_rows=_numbered(counts.long),
        long_row_costs={choice: _cost(counts.costs[choice]) for choice in counts.costs},
        too_long=_numbered(counts.too_long),
        split=_numbered(counts.split),
        unlike_prompt=_numbered(counts.unlike_prompt),
        hidden={part: _numbered(rows) for part, rows in sorted(counts.hidden.items())},
        answers=counts.answers,
        answers_not_found=counts.answers_not_found,
        not_found=_numbered(counts.not_found),
        tokens_lost=counts.tokens_lost,
    )


def _cost(cost: Cost) -> LongRowCost:
    return LongRowCost(
        tokens_lost=cost.tokens,
        trained_tokens_lost=cost.trained_tokens,
        eos_lost_rows=cost.ends,
    )


@dataclass(frozen=True)
class _Laying:
    """How the rows of a batch become sequences, as worker/training/packing.py lays them out."""

    max_length: int
    packed: bool
    long_rows: LongRows
    batch: int

    def sequences(self, rows: Sequence[Encoded]) -> list[int]:
        """Return the lengths of the sequences of one batch."""
        groups = grouped(rows, self.max_length, packed=self.packed, long_rows=self.long_rows)
        return [sum(each.size for each in group) for group in groups]

    def parts(self, row: Encoded) -> list[Encoded]:
        return parts_of(row, self.max_length, self.long_rows)

    def batches(self, rows: Sequence[Encoded]) -> Iterator[list[int]]:
        for start in range(0, len(rows), self.batch):
            yield self.sequences(rows[start : start + self.batch])


def _part(counts: Counts, rows: Sequence[Encoded], laying: _Laying) -> Part:
    # Training draws its own order; any random one tells how batches fill.
    batches = list(laying.batches(random.Random(0).sample(rows, len(rows))))
    longest = laying.sequences(nlargest(laying.batch, rows, key=lambda each: each.size))
    longest = sorted(longest, reverse=True)[: laying.batch]
    parts = [part for each in rows for part in laying.parts(each)]
    return Part(
        rows=counts.rows,
        trained_rows=len(rows),
        tokens=sum(map(sum, batches)),
        trained_tokens=sum(each.num_trained for each in parts),
        sequences=sum(map(len, batches)),
        padded_tokens=sum(len(each) * max(each) for each in batches if each),
        widest=max((max(each) for each in [*batches, longest] if each), default=0),
        batch_sequences=len(longest),
        batch_width=max(longest, default=0),
    )


def _numbered(rows: list[int]) -> Numbered:
    return Numbered(count=len(rows), first=rows[:SHOWN])
