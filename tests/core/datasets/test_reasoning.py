"""What an assistant thinks before it answers reaches the template, or is counted as left out."""

import json
from typing import Any

import pytest

from app.core.datasets import overlap
from app.core.datasets.tokens.templates import alpaca_prompt
from app.core.estimates.row_warnings import about_rows
from tests.core.datasets.speech import ASKED, CALLS, END, HEAD, TEXT, laid, spans, speech
from tests.core.datasets.test_shapes import run
from tests.core.datasets.test_tool_rows import ASK, CALL, CALLING, FOUND, LAST, TOOL

ASKED_2 = {"role": "user", "content": "2+2?"}
FOUR = {"role": "assistant", "content": "4"}
THOUGHT = {**FOUR, "reasoning_content": "Two and two."}
ROW: dict[str, Any] = {"instruction": "2+2?", "output": "4", "reasoning": ["Two and two."]}
QWEN_3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and (loop.last or m.reasoning_content) %}"
    "<think>\n{{ (m.reasoning_content or '').strip('\n') }}\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OF_THE_LAST = QWEN_3.replace("loop.last or m.reasoning_content", "loop.last")
GPT_OSS = speech("{% if m.thinking %}<analysis>{{ m.thinking }}</analysis>{% endif %}" + TEXT)
WITH_CALLS = speech(
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}" + TEXT + CALLS
)


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_every_name_of_reasoning_becomes_the_same_column(key, tmp_path):
    report, rows = run(tmp_path, {"messages": [ASKED_2, {**FOUR, key: "Two and two."}]})

    assert rows == [ROW]
    assert report["features"]["reasoning"] == "List(Value('string'))"
    assert report["problem_counts"] == {}


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_row_without_a_thought_stays_as_it_was(nothing, tmp_path):
    _, rows = run(tmp_path, {"messages": [ASKED_2, {**FOUR, "reasoning_content": nothing}]})

    assert rows == [{"instruction": "2+2?", "output": "4"}]


def test_a_canonical_row_can_be_uploaded_again_and_a_text_column_is_no_thought(tmp_path):
    report, rows = run(tmp_path, ROW, {**ROW, "reasoning": "Two and two."})

    assert rows == [ROW, {"instruction": "2+2?", "output": "4"}]
    assert report["problem_counts"] == {"column_ignored": 1}


def test_each_answer_of_a_conversation_has_its_thought(tmp_path):
    _, [row] = run(tmp_path, {"messages": [ASKED_2, FOUR, ASKED_2, THOUGHT]})

    assert row["reasoning"] == ["", "Two and two."]


def test_reasoning_that_is_no_text_is_refused(tmp_path):
    report, _ = run(tmp_path, {"messages": [ASKED_2, {**FOUR, "thinking": ["Two"]}]})

    [problem] = report["problems"]
    assert (problem["pointer"], problem["code"]) == (LAST + "/thinking", "content_not_text")


def test_qwens_template_trains_the_thought(tokenizer):
    texts, _, example = spans(ROW, QWEN_3, tokenizer)

    assert texts == ["<think>\nTwo and two.\n</think>\n\n4<|im_end|></s>"]
    assert not example.hidden


def test_a_generation_prompt_that_opens_the_thought_leaves_the_rest_to_train(tokenizer):
    opened = QWEN_3.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")

    texts, whole, example = spans(ROW, opened, tokenizer)

    assert texts == ["Two and two.\n</think>\n\n4<|im_end|></s>"]
    assert whole.count("<think>") == 1
    assert not example.unlike_prompt


def test_gpt_oss_knows_it_as_thinking(tokenizer):
    texts, _, example = spans(ROW, GPT_OSS.replace(ASKED, ""), tokenizer)

    assert texts == ["<analysis>Two and two.</analysis><assistant>4</s>"]
    assert not example.hidden


def test_a_thought_before_a_call_is_trained_with_it(tokenizer, tmp_path):
    calling = {**CALLING, "thinking": "I look it up."}
    _, [row] = run(tmp_path, {"messages": [ASK, calling, FOUND, FOUR], "tools": [TOOL]})

    texts, _, example = spans(row, WITH_CALLS.replace(ASKED, ""), tokenizer)

    assert row["messages"][1] == {
        **CALLING,
        "reasoning_content": "I look it up.",
        "tool_calls": [CALL],
    }
    assert texts[0].startswith("<think>I look it up.</think><assistant><call>")
    assert not example.hidden


EARLIER: dict[str, Any] = {
    "history": [["1+1?", "2"]],
    "instruction": "2+2?",
    "output": "4",
    "reasoning": ["One and one.", "Two and two."],
}


@pytest.mark.parametrize(
    ("template", "chat", "row", "is_hidden"),
    [
        ("chat", QWEN_3, ROW, False),
        ("chat", GPT_OSS, ROW, False),
        ("chat", HEAD + "{% for m in messages %}" + TEXT + END + "{% endfor %}" + ASKED, ROW, True),
        ("alpaca", None, ROW, True),
        ("alpaca", None, {**EARLIER, "reasoning": ["One and one.", ""]}, False),
        ("chat", OF_THE_LAST, EARLIER, False),
        ("chat", OF_THE_LAST, {**EARLIER, "weights": [1, 1]}, True),
        ("chat", QWEN_3, {**EARLIER, "weights": [1, 1]}, False),
    ],
)
def test_a_template_that_cannot_show_it_is_a_warning_with_a_count(
    template, chat, row, is_hidden, base, tmp_path
):
    plain = {"instruction": "a", "output": "b"}

    answer, spec = laid(base, tmp_path, [plain, row, plain, row], template, chat)

    found = {each.code: each.message for each in about_rows(spec, answer.laid, None)}
    assert ("reasoning_hidden" in found) == is_hidden
    assert not is_hidden or found["reasoning_hidden"] == (
        "The template does not write the reasoning of all trained answers of 2 of 4 rows "
        "(rows 1, 3, counted from 0)."
    )


def test_a_row_with_another_thought_is_another_row():
    def line(**changes: Any) -> list[bytes]:
        return [json.dumps({**ROW, **changes}).encode()]

    found = overlap.count(line(), line(reasoning=["By heart."]))

    assert (found.exact.rows, found.same_prompt.rows) == (0, 1)


def test_alpacas_wording_is_that_of_the_row_without_it():
    row: Any = ROW

    assert alpaca_prompt(row) == alpaca_prompt({"instruction": "2+2?"})
