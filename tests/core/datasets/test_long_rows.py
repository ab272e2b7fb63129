"""Rows longer than `max_length`: split, truncated or left out, as asked, and what each costs."""

from itertools import product
from typing import Any

import pytest

from app.core.datasets.layout.described import describe
from app.core.datasets.layout.outline import Outline
from app.core.datasets.layout.preview import PreviewSettings, preview
from app.core.datasets.layout.splits import lay_out
from app.core.datasets.tokens.encoding import IGNORED, Example, encode
from app.core.estimates.row_warnings import about_rows
from app.core.jobs.failures import NoTrainedTokens
from app.core.jobs.spec import JobSpec
from app.core.models.limits import Limits
from tests.core.datasets import tokenizers
from tests.layouts import grouped

CHOICES = ["split", "truncate", "drop"]
LIMIT = 10


def example(number: int, size: int, prompt: int = 3) -> Example:
    ids = list(range(number * 100, number * 100 + size))
    return Example(ids, [IGNORED] * prompt + ids[prompt:], number)


ROWS = [example(0, 6), example(1, 10), example(2, 11), example(3, 25), example(4, 9)]


def spec_of(choice: str | None, *, packing: bool, **changes: Any) -> JobSpec:
    training = {"max_length": LIMIT, "packing": packing}
    asked = {"model": "m", "dataset": "d", "training": training, "on_long_row": choice}
    return JobSpec.model_validate(asked | changes)


def laid_out(rows: list[Any], spec: JobSpec) -> tuple[Any, list[list[Any]]]:
    splits = lay_out(list(rows), None, spec, Limits(64, 1000))
    options: Any = {"packed": spec.training.packing, "long_rows": spec.on_long_row}
    return describe(splits, LIMIT, **options), grouped(splits.train, LIMIT, **options)


def kept(groups: list[list[Any]]) -> dict[int, list[int]]:
    """The tokens of each row that are in a sequence, in order."""
    found: dict[int, list[int]] = {}
    for part in sorted((part for group in groups for part in group), key=lambda e: e.input_ids):
        found.setdefault(part.row, []).extend(part.input_ids)
    return found


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("choice", CHOICES)
def test_long_rows_become_what_the_job_asks_for(choice, packing):
    laid, groups = laid_out(ROWS, spec_of(choice, packing=packing))

    whole = {each.row: each.input_ids for each in ROWS}
    for row, ids in kept(groups).items():
        expected = whole[row][:LIMIT] if choice == "truncate" else whole[row]
        # A second piece has two tokens at least, and begins anew: it repeats one.
        assert sorted(set(ids)) == expected
    assert sorted(kept(groups)) == ([0, 1, 4] if choice == "drop" else [0, 1, 2, 3, 4])
    assert all(sum(part.size for part in group) <= LIMIT for group in groups)
    assert laid.long_rows.first == [2, 3]
    assert laid.split.first == ([2, 3] if choice == "split" else [])
    assert laid.truncated.first == laid.eos_lost.first == ([2, 3] if choice == "truncate" else [])
    assert laid.too_long.first == ([2, 3] if choice == "drop" else [])
    assert laid.tokens_lost == laid.long_row_costs[choice].tokens_lost
    if not packing:
        parts = {"split": 8, "truncate": 5, "drop": 3}
        assert laid.train.sequences == len(groups) == parts[choice]


@pytest.mark.parametrize(("packing", "usual"), [(True, "split"), (False, "truncate")])
def test_without_a_word_rows_are_split_with_packing_and_truncated_without(packing, usual):
    silent, said = (laid_out(ROWS, spec_of(choice, packing=packing)) for choice in (None, usual))

    assert silent == said


@pytest.mark.parametrize("rows", [ROWS, ROWS[:2], [example(0, 31, 9), example(1, 12, 0)]])
@pytest.mark.parametrize("packing", [True, False])
def test_what_each_choice_costs_is_what_it_loses(rows, packing):
    known = {
        choice: laid_out([*rows, ROWS[0]], spec_of(choice, packing=packing))[0]
        for choice in CHOICES
    }

    for choice, laid in known.items():
        assert laid.long_row_costs == known["split"].long_row_costs
        cost = laid.long_row_costs[choice]
        assert cost.tokens_lost == laid.tokens_lost
        assert cost.eos_lost_rows == laid.eos_lost.count
        whole = sum(each.num_trained for each in [*rows, ROWS[0]])
        assert cost.trained_tokens_lost == whole - laid.train.trained_tokens


def test_the_costs_in_figures():
    laid, _ = laid_out(ROWS, spec_of(None, packing=True))

    costs = {name: tuple(vars(each).values()) for name, each in laid.long_row_costs.items()}
    # (tokens, tokens with a label, rows without EOS) of rows of 11 and 25 tokens at 10.
    assert costs == {"split": (3, 3, 0), "truncate": (16, 16, 2), "drop": (36, 30, 0)}


def test_an_outline_is_laid_out_like_its_row():
    for choice, packing in product([None, *CHOICES], [True, False]):
        spec = spec_of(choice, packing=packing, validation={"fraction": 0.4})
        outlines = [Outline.of(each) for each in ROWS]
        assert laid_out(outlines, spec)[0] == laid_out(ROWS, spec)[0]


def test_a_job_of_long_rows_alone_that_drops_them_is_refused():
    with pytest.raises(NoTrainedTokens):
        laid_out(ROWS[2:4], spec_of("drop", packing=True))


@pytest.mark.parametrize(
    ("choice", "code"),
    [("split", "rows_split"), ("truncate", "rows_truncated"), ("drop", "rows_too_long")],
)
def test_a_warning_says_what_was_done_and_what_the_others_would_lose(choice, code):
    spec = spec_of(choice, packing=True)

    told = {each.code: each for each in about_rows(spec, laid_out(ROWS, spec)[0], None)}

    assert "2 of 5 rows" in told[code].message
    assert "`split` 3, `truncate` 16, `drop` 36" in told[code].hint
    others = {"rows_split", "rows_truncated", "rows_too_long"} - {code}
    assert not others & told.keys()


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("choice", CHOICES)
def test_a_preview_shows_what_becomes_of_a_long_row(choice, packing):
    made = tokenizers.gpt2()
    row: Any = {"instruction": "hi", "output": "word " * 50}
    (whole,) = encode([(0, row)], "alpaca", "completion", made)
    limit = whole.prompt_size + 20
    settings = PreviewSettings("alpaca", None, (), "completion", limit, packing, choice)

    (shown,) = preview([(0, row)], settings, made)

    assert shown["dropped"] == (choice == "drop")
    assert (shown["num_pieces"] > 1) == (choice == "split")
    assert shown["eos"]["lost"] == (choice == "truncate")
    assert (shown["num_trained"] == 0) == (choice == "drop")
