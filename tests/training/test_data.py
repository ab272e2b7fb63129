import json
from pathlib import Path
from typing import Any

import pytest

from app.core.datasets.formats import Row
from app.core.datasets.layout import leaving_out
from app.core.datasets.layout.encode import encode_rows
from app.core.datasets.layout.splits import (
    Counts,
    count_cut,
    fit,
    lay_out,
    split,
)
from app.core.datasets.tokens.templates import alpaca_prompt
from app.core.jobs.spec import JobSpec
from app.core.models.limits import Limits
from worker.training.data import load_splits, prompt_ids, prompt_texts, row_tokenizer
from worker.training.failures import BadData, BadModel, BadRow, NoTrainedTokens
from worker.training.model import max_positions
from worker.training.packing import IGNORED

ROW: Row = {"instruction": "Say hi", "output": "hi"}
CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def spec(**changes: Any) -> JobSpec:
    body = {"model": "m", "dataset": "d", "template": "alpaca", **changes}
    return JobSpec.model_validate_json(json.dumps(body))


def examples_of(rows: list[Any], tokenizer: Any, **changes: Any) -> Any:
    return list(encode_rows(enumerate(rows), spec(**changes), row_tokenizer(tokenizer)))


def test_only_the_answer_and_its_end_are_trained(tokenizer):
    (example,) = examples_of([ROW], tokenizer)

    trained = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(trained) == "hi</s>"
    assert trained[-1] == tokenizer.eos_token_id
    assert example.input_ids[0] == tokenizer.bos_token_id
    (prompt,) = prompt_texts([ROW], "alpaca", tokenizer)
    assert example.input_ids[: -len(trained)] == tokenizer(prompt)["input_ids"]


def test_all_text_and_its_end_are_trained_when_asked(tokenizer):
    (example,) = examples_of([ROW], tokenizer, train_on="all")

    assert example.labels == example.input_ids
    assert example.labels[-1] == tokenizer.eos_token_id


def test_a_ready_text_is_trained_whole_and_ended(tokenizer):
    (example,) = examples_of([{"text": "once"}], tokenizer, template="text", train_on="all")

    assert tokenizer.decode(example.input_ids) == "<s>once</s>"


def test_samples_begin_like_a_trained_text_that_brings_its_own_bos(tokenizer):
    (example,) = examples_of([{"text": "<s>once"}], tokenizer, template="text", train_on="all")

    (begun,) = prompt_ids(["<s>once"], tokenizer, special=True)

    assert begun == example.input_ids[:-1]
    assert begun.count(tokenizer.bos_token_id) == 1


def test_earlier_turns_and_system_text_belong_to_the_prompt(tokenizer):
    row = {**ROW, "system": "Be brief.", "history": [["Say a", "a"]]}

    (example,) = examples_of([row], tokenizer)

    trained = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(trained) == "hi</s>"


@pytest.mark.parametrize("newline_after_end", [True, False])
def test_a_chat_answer_ends_with_eos_whatever_its_template_writes(tokenizer, newline_after_end):
    template = CHATML if newline_after_end else CHATML.replace("{{ '\\n' }}", "")
    tokenizer.chat_template = template
    try:
        (example,) = examples_of([ROW], tokenizer, template="chat")
    finally:
        tokenizer.chat_template = None

    trained = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(trained) == "hi</s>"


def test_a_chat_template_without_an_end_still_gets_one(tokenizer):
    tokenizer.chat_template = CHATML.replace("{{ eos_token }}", "")
    try:
        (example,) = examples_of([ROW], tokenizer, template="chat")
    finally:
        tokenizer.chat_template = None

    assert example.labels[-1] == tokenizer.eos_token_id


def test_a_generation_prompt_the_chat_does_not_begin_with_is_followed_by_the_answer(tokenizer):
    opened = "{% if add_generation_prompt %}<|assistant|><think>\n"
    tokenizer.chat_template = CHATML.replace("{% if add_generation_prompt %}<|assistant|>", opened)
    row: Row = {**ROW, "history": [["Say a", "a"]]}
    try:
        asked, ours = spec(template="chat"), row_tokenizer(tokenizer)
        (example,) = encode_rows([(3, row)], asked, ours)
        (prompt,) = prompt_texts([row], "chat", tokenizer)
    finally:
        tokenizer.chat_template = None

    trained = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(trained) == "hi</s>"
    assert tokenizer.decode(example.input_ids) == prompt + "hi</s>"
    assert prompt.endswith("<think>\n")
    limits = Limits(512, 512)
    assert lay_out([example], None, asked, limits).counts.unlike_prompt == [3]


@pytest.mark.parametrize(
    ("template", "row"),
    [
        ("text", {"text": "one</s>two"}),
        ("alpaca", {**ROW, "output": "one</s>two"}),
        ("alpaca", {**ROW, "output": "one</s>\n"}),
        ("chat", {**ROW, "output": "one</s>two"}),
    ],
)
def test_text_after_an_eos_inside_a_row_is_trained_too(tokenizer, template, row):
    tokenizer.chat_template = CHATML.replace("{{ eos_token }}", "")
    try:
        (example,) = examples_of([row], tokenizer, template=template, train_on="all")
    finally:
        tokenizer.chat_template = None

    text = row.get("output", row.get("text"))
    end = "\n</s>" if template == "chat" else "</s>"
    assert tokenizer.decode(example.input_ids).endswith(text + end)


def test_a_model_without_a_chat_template_is_refused_for_chat(tokenizer):
    with pytest.raises(BadModel, match="no chat template"):
        examples_of([ROW], tokenizer, template="chat")


def pairs_of(text: str) -> list[str]:
    return [text[at : at + 2] for at in range(0, len(text), 2)]


def merging_tokenizer(texts: list[str]) -> Any:
    """A tokenizer of character pairs: one token spans the end of an odd prompt and its answer."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pairs = sorted({pair for text in texts for pair in pairs_of(text)})
    vocabulary = {pair: at for at, pair in enumerate(["<unk>", "</s>", *pairs])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S][\s\S]?"), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")


@pytest.mark.parametrize("instruction", ["odd", "even"])
def test_prompt_tokens_are_those_generation_starts_from_even_if_the_answer_would_merge(instruction):
    row: Any = {"instruction": instruction, "output": "xyz"}
    prompt = alpaca_prompt(row)
    tokenizer = merging_tokenizer([prompt, prompt + "xyz", "xyz"])

    (example,) = examples_of([row], tokenizer)

    alone = tokenizer(prompt)["input_ids"]
    assert example.input_ids[: len(alone)] == alone
    assert example.labels[: len(alone)] == [IGNORED] * len(alone)
    assert example.labels[len(alone)] != IGNORED
    assert example.labels[-1] == tokenizer.eos_token_id


def test_cut_rows_lost_ends_and_lost_tokens_are_counted(tokenizer):
    rows = [ROW, {**ROW, "output": "x" * 50}, {**ROW, "output": "y" * 60}]
    examples = examples_of(rows, tokenizer)
    limit = len(examples[0].input_ids) + 5
    counts = Counts()

    count_cut(examples, limit, counts, packed=False)

    assert (counts.truncated, counts.eos_lost, counts.split) == ([1, 2], [1, 2], [])
    assert counts.tokens_lost == sum(len(each.input_ids) - limit for each in examples[1:])


def test_packing_splits_long_rows_and_loses_no_end(tokenizer):
    examples = examples_of([ROW, {**ROW, "output": "x" * 50}], tokenizer)
    limit = len(examples[0].input_ids) + 5
    counts = Counts()

    count_cut(examples, limit, counts, packed=True)

    assert (counts.truncated, counts.eos_lost, counts.split) == ([], [], [1])


def prompt_length(tokenizer: Any) -> int:
    (prompt,) = prompt_texts([ROW], "alpaca", tokenizer)
    return len(tokenizer(prompt)["input_ids"])


def refusal(rows: list[Any], held_out: list[Any], tokenizer: Any, limit: int, base: int) -> Any:
    asked = spec(training={"max_length": limit})
    train, held = (examples_of(each, tokenizer) for each in (rows, held_out))
    with pytest.raises(BadRow) as caught:
        leaving_out.check(train, held, asked, base)
    assert caught.value.report.code == "prompt_too_long"
    return caught.value.report


SHORT = {**ROW, "instruction": "Hi"}


def test_a_prompt_longer_than_max_length_is_an_error_with_row_and_column(tokenizer):
    report = refusal([SHORT, ROW], [], tokenizer, prompt_length(tokenizer) - 1, 512)

    assert report.message.startswith('Row 1 (counted from 0), column "instruction": the prompt')


@pytest.mark.parametrize(
    ("rows", "held_out", "base", "patch"),
    [
        ([SHORT, ROW], [], 512, {"training": {"max_length": 64}}),
        ([ROW], [{**ROW, "output": "x" * 100}], 512, {"training": {"max_length": 192}}),
        ([{**ROW, "output": "x" * 100}], [], 160, {"training": {"max_length": 160}}),
        ([{**ROW, "output": "x" * 100}], [], 100, {"training": {"max_length": 100}}),
        ([SHORT, ROW], [], 30, {"max_skip_share": 0.5}),
        ([SHORT, SHORT, ROW], [SHORT], 30, {"max_skip_share": 0.34}),
        ([SHORT, ROW], [ROW], 30, None),
        ([ROW, ROW], [], 30, None),
    ],
)
def test_the_change_that_is_suggested_for_long_prompts_works(
    tokenizer, rows, held_out, base, patch
):
    report = refusal(rows, held_out, tokenizer, prompt_length(tokenizer) - 1, base)

    assert report.suggested_patch == patch


def test_a_base_or_a_tokenizer_says_how_many_tokens_it_takes(bench, tokenizer):
    assert max_positions(bench.plan(), tokenizer) == 512

    tokenizer.model_max_length, before = 100, tokenizer.model_max_length
    try:
        assert max_positions(bench.plan(), tokenizer) == 100
    finally:
        tokenizer.model_max_length = before


def test_such_a_row_is_dropped_and_counted_when_asked(tokenizer):
    short = {**ROW, "instruction": "Hi"}
    asked = spec(training={"max_length": prompt_length(tokenizer) - 1}, on_invalid_row="skip")
    counts = Counts()

    kept = fit(examples_of([short, ROW], tokenizer), asked, counts)

    assert [each.row for each in kept] == [0]
    assert counts.dropped == [1]


def test_a_row_whose_prompt_leaves_no_room_is_dropped_and_counted(tokenizer):
    counts = Counts()
    asked = spec(training={"max_length": prompt_length(tokenizer)})

    assert fit(examples_of([ROW], tokenizer), asked, counts) == []
    assert counts.dropped == [0]


def test_a_job_without_a_trained_token_is_refused(bench, tokenizer):
    plan = bench.plan([ROW], training={"max_length": prompt_length(tokenizer)})

    with pytest.raises(NoTrainedTokens):
        load_splits(plan, tokenizer)


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        ({"instruction": None, "output": "x"}, "value_not_text", "instruction"),
        ({"instruction": "x", "output": None}, "value_not_text", "output"),
        ({"instruction": "x", "output": 3}, "value_not_text", "output"),
        ({"instruction": "x", "output": "x", "input": None}, "value_not_text", "input"),
        ({"instruction": "x", "output": "x", "system": None}, "value_not_text", "system"),
        ({"instruction": "x", "output": "x", "history": [["a"]]}, "value_not_text", "history"),
        ({"instruction": "x", "output": "x", "history": None}, "value_not_text", "history"),
        ({"instruction": "x"}, "column_missing", "output"),
        ({"output": "x"}, "column_missing", "instruction"),
        ([1, 2], "row_not_an_object", ""),
    ],
)
def test_a_bad_row_is_named_with_its_column(bench, tokenizer, row, code, column):
    plan = bench.plan([ROW, row])

    with pytest.raises(BadRow) as caught:
        load_splits(plan, tokenizer)

    assert caught.value.report.code == code
    assert caught.value.report.message.startswith(f'Row 1 (counted from 0), column "{column}"')


def test_a_missing_text_column_is_named(bench, tokenizer):
    plan = bench.plan([ROW], template="text", train_on="all")

    with pytest.raises(
        BadRow, match=r'Row 0 \(counted from 0\), column "text": missing; the row has instruction'
    ):
        load_splits(plan, tokenizer)


def test_a_line_that_is_not_json_or_not_utf8_is_named(bench, tokenizer):
    plan = bench.plan([ROW])
    for line in (b"{", b'{"instruction": "\xff", "output": "x"}', b""):
        with open(plan.rows.path, "wb") as file:  # noqa: PTH123
            file.write(json.dumps(ROW).encode() + b"\n" + line + b"\n")

        with pytest.raises(BadRow, match="Row 1 "):
            load_splits(plan, tokenizer)


def test_rows_that_are_not_there_are_no_crash(bench, tokenizer):
    plan = bench.plan([ROW])
    Path(plan.rows.path).unlink()

    with pytest.raises(BadData, match="cannot be read"):
        load_splits(plan, tokenizer)


def test_an_empty_dataset_is_refused(bench, tokenizer):
    with pytest.raises(BadData, match="no rows"):
        load_splits(bench.plan([]), tokenizer)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
@pytest.mark.parametrize("count", [2, 3, 17])
def test_the_split_is_repeatable_disjoint_and_leaves_both_parts_something(count, share):
    rows: Any = [(number, ROW) for number in range(count)]
    asked = spec(validation={"fraction": share})

    train, held_out = split(rows, asked)

    assert (train, held_out) == split(rows, asked)
    assert train
    assert held_out
    assert sorted([*train, *held_out], key=lambda each: each[0]) == rows


def test_another_seed_holds_out_other_rows():
    rows: Any = [(number, ROW) for number in range(50)]
    first = split(rows, spec(validation={"fraction": 0.2}, training={"seed": 1}))
    second = split(rows, spec(validation={"fraction": 0.2}, training={"seed": 2}))

    assert first != second
