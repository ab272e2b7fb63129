"""Rows that two datasets share, compared with a plain count."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from app.core.datasets import overlap


def lines(rows: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(row).encode() + b"\n" for row in rows]


def row(ask: Any, answer: Any = "yes", **more: Any) -> dict[str, Any]:
    return {"instruction": str(ask), "output": str(answer), **more}


def plainly(
    first: list[dict[str, Any]], other: list[dict[str, Any]], key: Callable[[Any], Any]
) -> list[tuple[int, int]]:
    seen: dict[Any, int] = {}
    for at, each in enumerate(first):
        seen.setdefault(key(each), at)
    return [(seen[key(each)], at) for at, each in enumerate(other) if key(each) in seen]


@pytest.mark.parametrize("seed", range(20))
def test_any_two_datasets_share_what_a_plain_count_finds(seed: int) -> None:
    chance = random.Random(seed)

    def some(size: int) -> list[dict[str, Any]]:
        return [row(chance.randrange(40), chance.randrange(3)) for _ in range(size)]

    first, other = some(chance.randrange(60)), some(chance.randrange(60))
    exact = plainly(first, other, lambda each: (each["instruction"], each["output"]))
    same_prompt = plainly(first, other, lambda each: each["instruction"])

    found = overlap.count(lines(first), lines(other))

    assert found.num_rows == len(other)
    for shared, expected in ((found.exact, exact), (found.same_prompt, same_prompt)):
        assert shared.rows == len(expected)
        assert shared.examples == expected[: overlap.SHOWN]
        assert shared.share == pytest.approx(len(expected) / max(len(other), 1), abs=1e-6)


def test_rows_beyond_one_batch_are_counted_too() -> None:
    many = lines([row(n) for n in range(25_000)])

    found = overlap.count(many, many[::-1])

    assert found.exact.rows == found.same_prompt.rows == 25_000
    assert found.exact.examples[0] == (24_999, 0)


@pytest.mark.parametrize(
    ("first", "other", "exact", "same_prompt"),
    [
        (row("a"), row("a", input=""), 1, 1),
        (row("a"), row("a", input="b"), 0, 0),
        (row("a"), {"output": "yes", "instruction": "a"}, 1, 1),
        (row("a"), row("a", "no"), 0, 1),
        (row("a", system="s"), row("a"), 0, 0),
        (row("a", history=[["x", "y"]]), row("a"), 0, 0),
        (row("a", history=[["x", "y"]]), row("a", history=[["x", "y"]]), 1, 1),
        (row("a", weights=[1]), row("a"), 1, 1),
        ({"text": "t"}, {"text": "t"}, 1, 0),
        ({"text": "t"}, {"text": "u"}, 0, 0),
        (row("ab", "c"), row("a", "bc"), 0, 0),
    ],
)
def test_rows_are_the_same_when_their_texts_are(
    first: dict[str, Any], other: dict[str, Any], exact: int, same_prompt: int
) -> None:
    found = overlap.count(lines([first]), lines([other]))

    assert (found.exact.rows, found.same_prompt.rows) == (exact, same_prompt)


@pytest.mark.parametrize(("first", "other"), [(0, 0), (0, 3), (3, 0)])
def test_a_dataset_without_rows_shares_nothing(first: int, other: int) -> None:
    found = overlap.count(lines([row(1)] * first), lines([row(1)] * other))

    assert (found.num_rows, found.exact.rows, found.exact.share) == (other, 0, 0.0)
