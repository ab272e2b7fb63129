"""Count what a layout does with rows: the same figures for the trainer and the dry run."""

import random
from collections.abc import Sequence
from copy import deepcopy
from heapq import nlargest
from itertools import chain
from typing import TypeVar

from app.core.datasets.layout.figures import LayoutFigures, LongRowCost, Numbered, Part
from app.core.datasets.layout.grouping import in_sequences, parts_of
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
    choice = long_rows or usual(packed=packed)

    def part(rows: Sequence[Encoded], counted: Counts) -> Part:
        cut = [parts_of(each, max_length, choice) for each in rows]
        return _part(counted, cut, max_length if packed else None, batch)

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


def _part(counts: Counts, rows: list[list[Encoded]], pack_length: int | None, batch: int) -> Part:
    """`rows`: what is trained of each."""
    # Training draws its own order; any random one tells how batches fill.
    shuffled = random.Random(0).sample(rows, len(rows))
    starts = range(0, len(rows), batch)
    batches = [_widths(shuffled[start : start + batch], pack_length) for start in starts]
    longest = _widths(nlargest(batch, rows, key=_size), pack_length)
    longest = sorted(longest, reverse=True)[:batch]
    return Part(
        rows=counts.rows,
        trained_rows=len(rows),
        tokens=sum(map(sum, batches)),
        trained_tokens=sum(each.num_trained for row in rows for each in row),
        sequences=sum(map(len, batches)),
        padded_tokens=sum(len(each) * max(each) for each in batches if each),
        widest=max((max(each) for each in [*batches, longest] if each), default=0),
        batch_sequences=len(longest),
        batch_width=max(longest, default=0),
    )


def _widths(rows: list[list[Encoded]], pack_length: int | None) -> list[int]:
    """Return the lengths of the sequences of a batch."""
    return [_size(group) for group in in_sequences(chain.from_iterable(rows), pack_length)]


def _size(parts: Sequence[Encoded]) -> int:
    return sum(each.size for each in parts)


def _numbered(rows: list[int]) -> Numbered:
    return Numbered(count=len(rows), first=rows[:SHOWN])
