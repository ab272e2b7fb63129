"""Rows that a template refuses, and prompts that fill `max_length`: left out, named, or refused."""

from typing import Any

import pytest

from app.core.datasets.layout.described import describe
from app.core.datasets.layout.encode import encode_rows
from app.core.datasets.layout.outline import Outline
from app.core.datasets.layout.splits import lay_out
from app.core.estimates.row_warnings import about_rows
from app.core.jobs.failures import BadModel, BadRow, RefusedRow, RunFailed, TooManySkipped
from app.core.jobs.spec import JobSpec
from app.core.models.limits import Limits
from tests.core.datasets import tokenizers

GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{{ '<' + m.role + '>' + m.content + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ROW: Any = {"instruction": "Say hi", "output": "hi"}
SYSTEM: Any = {**ROW, "system": "Be brief."}
LONG: Any = {**ROW, "instruction": "word " * 60}
WIDE = Limits(4096, 512)


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizers.gpt2().with_chat_template(GEMMA)


def spec_of(**changes: Any) -> JobSpec:
    training = {"max_length": changes.pop("max_length", 512)}
    asked = {"model": "m", "dataset": "d", "template": "chat", "training": training}
    return JobSpec.model_validate(asked | changes)


def laid_out(rows: list[Any], tokenizer: Any, limits: Limits = WIDE, **changes: Any) -> Any:
    held_out, invalid = changes.pop("held_out", None), changes.pop("invalid", (0, 0))
    spec = spec_of(**changes)
    outlines, held = (
        part and list(map(Outline.of, encode_rows(enumerate(part), spec, tokenizer)))
        for part in (rows, held_out)
    )
    splits = lay_out(outlines, held, spec, limits, invalid)
    length = spec.training.max_length
    return describe(splits, length, packed=True), {
        each.code: each for each in about_rows(spec, describe(splits, length, packed=True), None)
    }


def failure(kind: type[RunFailed], *args: Any, **changes: Any) -> Any:
    with pytest.raises(kind) as caught:
        laid_out(*args, **changes)
    return caught.value.report


@pytest.mark.parametrize("at", [0, 7, 11])
def test_a_row_that_a_template_refuses_is_named_with_the_templates_sentence(tokenizer, at):
    rows = [SYSTEM if number == at else ROW for number in range(12)]

    report = failure(RefusedRow, rows, tokenizer)

    assert report.code == "template_refuses_row"
    assert report.message.startswith(f"Row {at} (counted from 0): the template refuses it: ")
    assert "System role not supported" in report.message
    assert report.suggested_patch == {"on_invalid_row": "skip"}
    laid, told = laid_out(rows, tokenizer, **report.suggested_patch)
    assert (laid.refused.count, laid.refused.first) == (1, [at])
    assert (laid.train.rows, laid.train.trained_rows) == (12, 11)
    assert f"rows {at}, counted from 0" in told["rows_refused"].message
    assert "System role not supported" in told["rows_refused"].message


@pytest.mark.parametrize("spread", [1, 0])
def test_more_refused_rows_than_may_be_skipped_refuse_the_job(tokenizer, spread):
    rows = [*([ROW] * 9), SYSTEM, *([ROW] * 8 * spread), SYSTEM]

    report = failure(TooManySkipped, rows, tokenizer, on_invalid_row="skip", max_skip_share=0.1)

    assert "the template refuses 2 of them, first row 9 (counted from 0)" in report.message
    assert "System role not supported" in report.evidence
    asked = failure(RefusedRow, rows, tokenizer)
    assert asked.suggested_patch == {"on_invalid_row": "skip", **report.suggested_patch}
    laid, _ = laid_out(rows, tokenizer, **asked.suggested_patch)
    assert laid.refused.count == 2


def test_rows_that_were_skipped_as_invalid_count_too(tokenizer):
    rows = [*([ROW] * 18), SYSTEM]
    skip: Any = {"on_invalid_row": "skip", "max_skip_share": 0.1}

    assert laid_out(rows, tokenizer, **skip, invalid=(1, 5))[0].refused.count == 1
    report = failure(TooManySkipped, rows, tokenizer, **skip, invalid=(2, 0))
    assert report.message.startswith("3 of 21 rows (14.3%)")


def test_a_template_that_refuses_every_row_does_not_fit(tokenizer):
    for choice in ("error", "skip"):
        report = failure(BadModel, [SYSTEM] * 3, tokenizer, on_invalid_row=choice)
        assert "System role not supported" in report.evidence


def test_a_refused_row_of_a_validation_set_is_left_out_as_well(tokenizer):
    held = [*([ROW] * 10), SYSTEM]

    report = failure(RefusedRow, [ROW], tokenizer, held_out=held)

    assert report.message.startswith("Row 10 ")
    laid, _ = laid_out([ROW], tokenizer, held_out=held, on_invalid_row="skip")
    assert laid.held_out.rows == 11
    assert laid.held_out.trained_rows == 10


def test_the_same_rows_are_held_out_whether_one_is_refused_or_not(tokenizer):
    share: Any = {"validation": {"fraction": 0.25}, "on_invalid_row": "skip"}
    rows = [{**ROW, "output": f"a{at}"} for at in range(40)]
    changed = [row | ({"system": "Be."} if at == 5 else {}) for at, row in enumerate(rows)]

    before, after = (laid_out(each, tokenizer, **share)[0] for each in (rows, changed))

    assert before.train.rows == after.train.rows
    assert before.held_out.rows == after.held_out.rows


@pytest.mark.parametrize(("count", "others"), [(1, 9), (2, 40), (5, 45)])
def test_rows_whose_prompt_fills_max_length_are_left_out_and_named(tokenizer, count, others):
    rows = [*([ROW] * others), *([LONG] * count)]

    laid, told = laid_out(rows, tokenizer, max_length=64)

    assert laid.long_prompts.count == laid.dropped.count == count
    assert laid.train.trained_rows == others
    warning = told["rows_dropped"]
    assert warning.message.startswith(
        f"{count} of {others + count} rows are left out: their prompt"
    )
    assert f"rows {others}" in warning.message
    length = laid.keeping_length
    assert f"Raise `max_length` to {length} " in warning.hint
    kept, told = laid_out(rows, tokenizer, max_length=length)
    assert kept.train.trained_rows == len(rows)
    assert "rows_dropped" not in told
    assert kept.tokens_lost == 0


def test_one_long_prompt_in_fifty_thousand_refuses_no_job(tokenizer):
    spec = spec_of(max_length=64)
    short, long = (
        Outline.of(next(encode_rows([(0, row)], spec, tokenizer))) for row in (ROW, LONG)
    )

    splits = lay_out([*([short] * 49_999), long], None, spec, WIDE)

    assert len(splits.train) == 49_999
    assert len(splits.counts.long_prompts) == 1


def test_a_prompt_that_leaves_no_room_is_long(tokenizer):
    (example,) = encode_rows([(0, LONG)], spec_of(), tokenizer)
    size = example.prompt_size
    rows = [*([ROW] * 10), LONG]

    for length, count in ((size - 1, 1), (size, 1), (size + 1, 0)):
        laid, _ = laid_out(rows, tokenizer, max_length=length)
        assert laid.long_prompts.count == count


@pytest.mark.parametrize("rows", [[ROW] * 20 + [LONG], [LONG, ROW], [LONG] * 3])
def test_a_job_that_asks_for_it_is_refused_at_the_first_long_prompt(tokenizer, rows):
    report = failure(BadRow, rows, tokenizer, max_length=64, on_long_prompt="error")

    assert report.code == "prompt_too_long"
    assert report.message.startswith(f"Row {rows.index(LONG)} (counted from 0)")
    laid, _ = laid_out(rows, tokenizer, max_length=report.suggested_patch["training"]["max_length"])
    assert laid.dropped.count == 0


def test_where_the_base_takes_no_such_prompt_the_rows_are_left_out(tokenizer):
    rows, narrow = [*([ROW] * 3), LONG], Limits(64, 512)

    report = failure(BadRow, rows, tokenizer, narrow, max_length=64, on_long_prompt="error")

    assert report.suggested_patch == {"on_long_prompt": "drop", "max_skip_share": 0.25}
    laid, told = laid_out(rows, tokenizer, narrow, max_length=64, **report.suggested_patch)
    assert laid.train.trained_rows == 3
    assert told["rows_dropped"].hint == "Shorten the prompts."


def test_refused_invalid_and_long_rows_share_one_limit(tokenizer):
    rows = [*([ROW] * 17), SYSTEM, LONG]
    asked: Any = {"max_length": 64, "on_invalid_row": "skip", "max_skip_share": 0.11}

    assert laid_out(rows, tokenizer, **asked)[0].train.trained_rows == 17
    report = failure(BadRow, rows, tokenizer, **asked, invalid=(1, 0))
    assert "15.0% of the rows would be left out" in report.message
    assert report.suggested_patch["training"]["max_length"] > 64


def test_a_row_without_a_trained_answer_is_no_long_prompt(tokenizer):
    rows = [ROW, {**LONG, "weights": [0]}]

    laid, told = laid_out(rows, tokenizer, max_length=64)

    assert (laid.dropped.count, laid.long_prompts.count) == (1, 0)
    assert "no token to train on" in told["rows_dropped"].message
