"""Count what a layout does with rows: the same figures for the trainer and the dry run."""

from collections.abc import Sequence
from copy import deepcopy
from typing import TypeVar

from app.core.datasets.layout.figures import LayoutFigures, LongRowCost, Numbered, Part
from app.core.datasets.layout.grouping import grouped
from app.core.datasets.layout.long_rows import LongRows
from app.core.datasets.layout.outline import Encoded
from app.core.datasets.layout.splits import Cost, Counts, Splits, count_cut

T = TypeVar("T", bound=Encoded)
SHOWN = 10
_KEPT = 33


def describe(
    splits: Splits[T], max_length: int, *, packed: bool, long_rows: LongRows | None = None
) -> LayoutFigures:
    """Return the figures of a layout. Does not modify `splits`."""
    counts = deepcopy(splits.counts)
    count_cut(splits.train, max_length, counts, packed=packed, long_rows=long_rows)

    def part(rows: Sequence[Encoded], counted: Counts) -> Part:
        return _part(
            counted, grouped(rows, max_length, packed=packed, long_rows=long_rows), len(rows)
        )

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


def _part(counts: Counts, groups: Sequence[Sequence[Encoded]], trained_rows: int) -> Part:
    widths = [sum(each.size for each in group) for group in groups]
    return Part(
        rows=counts.rows,
        trained_rows=trained_rows,
        tokens=sum(widths),
        trained_tokens=sum(each.num_trained for group in groups for each in group),
        sequences=len(groups),
        widest=max(widths, default=0),
        widths=_spaced(sorted(widths)),
    )


def _spaced(widths: list[int]) -> list[int]:
    if len(widths) <= _KEPT:
        return widths
    last = len(widths) - 1
    return [widths[round(at * last / (_KEPT - 1))] for at in range(_KEPT)]


def _numbered(rows: list[int]) -> Numbered:
    return Numbered(count=len(rows), first=rows[:SHOWN])
