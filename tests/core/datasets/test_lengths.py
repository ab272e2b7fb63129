"""Distributions of lengths and what `max_length` costs, compared with a plain count."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.core.datasets.tokens import lengths
from app.core.datasets.tokens.lengths import MAX_BINS, Measured

ROWS = st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 3000)), min_size=1, max_size=60)


def measured(rows: list[tuple[int, int]]) -> Measured:
    """Make sizes of (prompt, answer) in tokens, with four characters per token."""
    prompts, totals = [p for p, _ in rows], [p + a for p, a in rows]
    columns = ([4 * total for total in totals], totals, prompts)
    return Measured(*(np.array(each, dtype=np.int64) for each in columns))


@given(ROWS, st.integers(1, 2000))
def test_every_row_is_counted_once_and_the_share_over_is_the_share_over(
    rows: list[tuple[int, int]], limit: int
) -> None:
    found = lengths.describe(measured(rows), limit)

    for unit, factor in (("tokens", 1), ("characters", 4)):
        sizes = sorted(factor * (prompt + answer) for prompt, answer in rows)
        told = found[unit]
        edges, counts = told["histogram"]["edges"], told["histogram"]["counts"]
        assert told["total"] == sum(sizes)
        assert told["over"] == sum(size > limit for size in sizes)
        assert told["share_over"] == told["over"] / len(rows)
        assert told["p50"] == sizes[-(-len(sizes) // 2) - 1]
        assert len(counts) <= MAX_BINS
        for low, high, count in zip(edges, edges[1:], counts, strict=False):
            assert count == sum(low <= size < high for size in sizes)
        assert sum(counts) == len(rows)


@given(ROWS, st.integers(1, 2000))
def test_what_is_cut_split_and_dropped_adds_up(rows: list[tuple[int, int]], limit: int) -> None:
    found = lengths.describe(measured(rows), limit)

    # The only token of a row is not trained: it has no context.
    dropped = [
        prompt + answer for prompt, answer in rows if prompt >= limit or prompt + answer == 1
    ]
    long = [prompt + answer for prompt, answer in rows if prompt < limit < prompt + answer]
    assert found["cut"]["dropped_rows"] == found["split"]["dropped_rows"] == len(dropped)
    assert found["cut"]["rows"] == found["split"]["rows"] == len(long)
    assert found["cut"]["tokens_lost"] == sum(dropped) + sum(size - limit for size in long)
    pieces = sum(-(-size // limit) for size in long)
    assert found["split"]["tokens_lost"] == sum(dropped) + pieces - len(long)
    assert found["split"]["eos_lost_rows"] == 0


def test_no_rows_have_no_lengths() -> None:
    found = lengths.describe(measured([]), 1024)

    assert found["num_rows"] == 0
    assert found["tokens"]["histogram"] == {"edges": [], "counts": []}
