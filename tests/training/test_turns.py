"""Conversations with several trained answers, compared with what transformers renders."""

from itertools import product
from typing import Any

import pytest

from app.core.datasets.tokens.encoding import IGNORED, encode
from app.core.datasets.tokens.rendering import trained_answers, up_to, whole_chat
from app.core.datasets.tokens.templates import alpaca_prompt, chat_messages
from tests.layouts import alone, packed
from worker.training.data import load_splits, row_tokenizer
from worker.training.failures import BadRow

ANSWERS = ["a!", "b b", "c."]
ROW: Any = {
    "system": "Be brief.",
    "history": [["Say a", "a!"], ["Say b", "b b"]],
    "instruction": "Say c",
    "input": "now",
    "output": "c.",
}
WEIGHTS = [each for each in product([0, 1], repeat=3) if any(each)]
CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
BARE = CHATML.replace("{{ eos_token }}", "")
FORGETFUL = CHATML.replace(
    "{{ m.content }}", "{% if loop.last or m.role != 'assistant' %}{{ m.content }}{% endif %}"
)


@pytest.fixture
def chat(tokenizer):
    """Set the tokenizer's chat template during a test."""

    def use(template: str) -> Any:
        tokenizer.chat_template = template
        return tokenizer

    yield use
    tokenizer.chat_template = None


def encoded(tokenizer: Any, template: str, weights: Any, train_on: str = "completion") -> Any:
    row = ROW | {"weights": list(weights)}
    (example,) = encode([(0, row)], template, train_on, row_tokenizer(tokenizer))
    return example


def spans(example: Any) -> list[list[int]]:
    """Runs of consecutive trained tokens."""
    found: list[list[int]] = []
    before = IGNORED
    for label in example.labels:
        if label != IGNORED:
            found = [*found, []] if before == IGNORED else found
            found[-1].append(label)
        before = label
    return found


@pytest.mark.parametrize("weights", WEIGHTS)
def test_each_answer_of_weight_1_is_trained_after_what_generation_would_see(chat, weights):
    tokenizer = chat(CHATML)

    example = encoded(tokenizer, "chat", weights)

    wanted = [answer for answer, weight in zip(ANSWERS, weights, strict=True) if weight]
    assert [tokenizer.decode(each) for each in spans(example)] == [f"{a}</s>" for a in wanted]
    assert not example.unlike_prompt
    assert example.input_ids[-1] == tokenizer.eos_token_id
    for answer in trained_answers(ROW | {"weights": list(weights)}):
        messages = chat_messages(up_to(ROW, answer))
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert example.input_ids[: len(prompt)] == prompt
        assert example.labels[len(prompt)] != IGNORED
        assert example.labels[len(prompt) - 1] == IGNORED


def test_a_turn_without_an_end_of_its_own_ends_with_its_last_letter(chat):
    tokenizer = chat(BARE)

    example = encoded(tokenizer, "chat", (1, 0, 1))

    assert [tokenizer.decode(each).rstrip("\n") for each in spans(example)] == ["a!", "c.\n</s>"]


def test_a_template_that_tells_the_past_otherwise_trains_the_last_answer_alone(chat):
    tokenizer = chat(FORGETFUL)

    example = encoded(tokenizer, "chat", (1, 1, 1))

    assert [tokenizer.decode(each) for each in spans(example)] == ["c.</s>"]
    assert example.unlike_prompt


@pytest.mark.parametrize("weights", WEIGHTS)
def test_in_a_text_template_the_last_answer_alone_is_ended_as_in_its_prompts(tokenizer, weights):
    example = encoded(tokenizer, "alpaca", weights)

    wanted = trained_answers(ROW | {"weights": list(weights)})
    *earlier, final = [tokenizer.decode(each) for each in spans(example)]
    assert [*earlier, final] == [*(ANSWERS[at] for at in wanted[:-1]), f"{ANSWERS[wanted[-1]]}</s>"]
    first = tokenizer(alpaca_prompt(up_to(ROW, wanted[0])))["input_ids"]
    assert example.input_ids[: len(first)] == first
    last = up_to(ROW, wanted[-1])
    text = tokenizer.decode(example.input_ids, skip_special_tokens=True)
    assert text == alpaca_prompt(last) + last["output"]


@pytest.mark.parametrize("template", ["alpaca", "chat"])
def test_weights_that_name_the_last_answer_change_nothing(chat, template):
    tokenizer = chat(CHATML)

    (plain,) = encode([(0, ROW)], template, "completion", row_tokenizer(tokenizer))

    assert encoded(tokenizer, template, (0, 0, 1)) == plain


def test_with_all_text_trained_weights_do_not_count(tokenizer):
    example = encoded(tokenizer, "alpaca", (1, 0, 0), train_on="all")

    assert example.labels == example.input_ids
    assert tokenizer.decode(example.input_ids).endswith("c.</s>")


def test_a_row_of_which_nothing_is_trained_is_dropped_and_counted(bench, tokenizer):
    plan = bench.plan([{**ROW, "weights": [0, 0, 0]}, ROW], training={"max_length": 512})

    splits = load_splits(plan, tokenizer)

    assert [each.row for each in splits.train] == [1]
    assert splits.counts.dropped == [0]


@pytest.mark.parametrize("lay_out", [alone, packed])
def test_every_trained_answer_reaches_the_sequences(bench, tokenizer, lay_out):
    plan = bench.plan([{**ROW, "weights": [1, 1, 1]}], training={"max_length": 512})

    (sequence,) = lay_out(load_splits(plan, tokenizer).train, 512)

    assert [tokenizer.decode(each) for each in spans(sequence)] == ["a!", "b b", "c.</s>"]


@pytest.mark.parametrize("weights", [[1], [1, 1, 2], [1, 1, True], [1, 1, 1.0], "111", None])
def test_weights_that_fit_no_answers_are_named(bench, tokenizer, weights):
    with pytest.raises(BadRow) as caught:
        load_splits(bench.plan([{**ROW, "weights": weights}]), tokenizer)

    assert caught.value.report.code == "weights_invalid"


def test_a_fallback_is_counted(bench, chat):
    tokenizer = chat(FORGETFUL)
    plan = bench.plan(
        [{**ROW, "weights": [1, 1, 1]}], template="chat", training={"max_length": 512}
    )

    counts = load_splits(plan, tokenizer).counts

    assert counts.unlike_prompt == [0]


def test_what_a_template_marks_is_trained_as_transformers_masks_it(chat):
    marked = (
        "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content if loop.last else m.content | upper }}{{ eos_token }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    tokenizer = chat(marked)

    example = encoded(tokenizer, "chat", (1, 1, 1))

    theirs = tokenizer.apply_chat_template(
        whole_chat(ROW), return_dict=True, return_assistant_tokens_mask=True
    )
    size = example.size  # theirs goes on with a newline
    assert example.input_ids == theirs["input_ids"][:size]
    ours = [int(label != IGNORED) for label in example.labels]
    assert ours == theirs["assistant_masks"][:size]
    assert len(spans(example)) == 3
