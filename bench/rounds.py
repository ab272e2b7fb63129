"""Compares two sides, interleaved A B A B in one process tree, as a ratio with its range."""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 5
WIDE = 0.25
"""A range wider than this share of the median is inconclusive."""


@dataclass(frozen=True)
class Side:
    name: str
    measure: Callable[[], float]
    """Run one round and return its rate: higher is better."""


def compare(title: str, ours: Side, theirs: Side, unit: str, rounds: int = ROUNDS) -> float:
    """Print a JSON line per round and a summary; return the median of the per-round ratios.

    An uncounted first round of each side warms up caches and imports.
    """
    ours.measure(), theirs.measure()
    ratios = []
    for number in range(1, rounds + 1):
        left, right = ours.measure(), theirs.measure()
        ratios.append(left / right)
        line = {ours.name: round(left, 1), theirs.name: round(right, 1)}
        print(json.dumps({"bench": title, "round": number, "unit": unit, **line}), flush=True)
    median = statistics.median(ratios)
    spread = (max(ratios) - min(ratios)) / median
    print(f"\n{title}: {ours.name} over {theirs.name}")
    print(
        f"  median {median:.2f}x, range {min(ratios):.2f}x to {max(ratios):.2f}x, {rounds} rounds"
    )
    if spread > WIDE:
        print(f"  the range is {spread:.0%} of the median: too wide to judge")
    print()
    return median
