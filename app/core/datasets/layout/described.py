"""Count what a layout does with rows: the same figures for the trainer and the dry run."""

from collections.abc import Sequence
from copy import deepcopy
from typing import TypeVar

from app.core.datasets.layout.figures import LayoutFigures, Numbered, Part
from app.core.datasets.layout.grouping import grouped
from app.core.datasets.layout.outline import Encoded
from app.core.datasets.layout.splits import Counts, Splits, count_cut

T = TypeVar("T", bound=Encoded)
SHOWN = 10
_KEPT = 33


def describe(splits: Splits[T], max_length: int, *, packed: bool) -> LayoutFigures:
    """Return the figures of a layout. Does not modify `splits`."""
    counts = deepcopy(splits.counts)
    count_cut(splits.train, max_length, counts, packed=packed)
    is_held_out = splits.held_counts.rows > 0
    return LayoutFigures(
        train=_part(splits.train, counts, max_length, packed=packed),
        held_out=_part(splits.held_out, splits.held_counts, max_length, packed=packed)
        if is_held_out
        else None,
        truncated=_numbered(counts.truncated),
        eos_lost=_numbered(counts.eos_lost),
        dropped=_numbered(counts.dropped),
        split=_numbered(counts.split),
        unlike_prompt=_numbered(counts.unlike_prompt),
        hidden={part: _numbered(rows) for part, rows in sorted(counts.hidden.items())},
        tokens_lost=counts.tokens_lost,
    )


def _part(rows: Sequence[Encoded], counts: Counts, max_length: int, *, packed: bool) -> Part:
    groups = grouped(rows, max_length, packed=packed)
    widths = [sum(each.size for each in group) for group in groups]
    return Part(
        rows=counts.rows,
        trained_rows=len(rows),
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
