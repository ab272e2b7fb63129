"""Tool calls and thoughts in chats whose past a template tells otherwise than its end."""

from typing import Any

import pytest

from app.core.datasets.layout.described import describe
from app.core.datasets.layout.encode import encode_rows
from app.core.datasets.layout.outline import Outline
from app.core.datasets.layout.splits import lay_out
from app.core.datasets.tokens.templates import REASONING
from app.core.estimates.row_warnings import about_rows
from app.core.jobs.failures import BadRow, RunFailed, TooManySkipped
from app.core.jobs.spec import JobSpec
from app.core.models.limits import Limits
from tests.core.datasets import tokenizers
from tests.core.datasets.speech import CALLS, HEAD, TEXT, spans, speech
from tests.core.datasets.test_spans import PHI_3, QWEN_3
from tests.core.datasets.test_tool_rows import ANSWER, ASK, CALLING, FOUND, ROW, TOOL

CALL_TEXT = '<call>{"name": "weather", "arguments": {"city": "Oslo"}}</call>'
AGAIN = {"role": "user", "content": "And at night?"}
CHAT: Any = {"messages": [ASK, CALLING, FOUND, ANSWER, AGAIN, CALLING], "tools": [TOOL]}
MARKS = ["<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"]
CONTENT = "'<|' + m.role + '|>\\n' + m.content + '<|end|>\\n'"
END_LAST = HEAD + PHI_3.replace(
    "{{ " + CONTENT + " }}",
    "{{ '<|' + m.role + '|>\\n' + m.content }}" + CALLS + "{{ '<|end|>\\n' }}",
)
ON_ONE_LINE = END_LAST.replace("\\n", "")
MARKED = ON_ONE_LINE.replace("{{ '<|end|>' }}", "").replace(
    "{{ '<|' + m.role + '|>' + m.content }}" + CALLS,
    "{{ '<|' + m.role + '|>' }}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content | upper }}"
    + CALLS
    + "<|end|>{% endgeneration %}{% else %}{{ m.content }}<|end|>{% endif %}",
)
THOUGHT = "{% if m.reasoning_content and SHOWN %}[{{ m.reasoning_content }}]{% endif %}"
WHILE_TOOLS_ANSWER = speech(
    TEXT.replace(">{{", ">" + THOUGHT.replace("SHOWN", "messages[-1].role == 'tool'") + "{{")
    + CALLS
)
OPENS = "{% if m.reasoning_content %}<analysis>{{ m.reasoning_content }}</analysis>{% endif %}"


@pytest.fixture(scope="module")
def marked() -> Any:
    return tokenizers.gpt2(MARKS)


@pytest.mark.parametrize("template", [END_LAST, ON_ONE_LINE, MARKED])
@pytest.mark.parametrize("last", [4, 6])
def test_calls_are_found_where_only_the_last_message_has_the_eos(template, last, marked):
    texts, whole, example = spans({**CHAT, "messages": CHAT["messages"][:last]}, template, marked)

    answer = ANSWER["content"].upper() if template == MARKED else ANSWER["content"]
    wanted = [CALL_TEXT + "<|end|>", answer + "<|end|>", CALL_TEXT + "<|end|>"][: last // 2]
    assert [each.strip() for each in texts[:-1]] == wanted[:-1]
    assert texts[-1].replace("\n", "") == wanted[-1] + "</s>"
    assert whole.count("<|tool|>") == 1
    assert (example.num_answers, example.num_not_found) == (last // 2, 0)
    assert not example.unlike_prompt


@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_only_answers_with_a_weight_are_trained_of_a_chat_told_otherwise(weights, marked):
    given = iter(weights)
    messages = [
        {**each, "weight": next(given)} if each["role"] == "assistant" else each
        for each in CHAT["messages"]
    ]

    texts, _, example = spans({**CHAT, "messages": messages}, ON_ONE_LINE, marked)

    said = [CALL_TEXT, ANSWER["content"], CALL_TEXT]
    wanted = [text + "<|end|>" for text, each in zip(said, weights, strict=True) if each]
    assert texts == [*wanted[:-1], wanted[-1] + "</s>"]
    assert (example.num_answers, example.num_not_found) == (sum(weights), 0)


def test_an_earlier_thought_that_the_template_drops_leaves_its_answer_trained():
    made = tokenizers.gpt2(["<|im_start|>", "<|im_end|>"])
    template = QWEN_3.replace("m.content.split('</think>')[-1]", "m.content").replace(
        "if '</think>' in m.content else ''", "if false else (m.reasoning_content or '')"
    )
    row = {
        **{"history": [["2+2?", "4"]], "instruction": "3+3?", "output": "6"},
        **{"weights": [1, 1], "reasoning": ["Two and two.", "Three and three."]},
    }

    texts, _, example = spans(row, template, made)

    assert texts == [
        "4<|im_end|>",
        "<think>\nThree and three.\n</think>\n\n6<|im_end|></s>",
    ]
    assert (example.num_answers, example.num_not_found) == (2, 0)
    assert example.hidden == {REASONING}


def test_what_a_tool_says_is_never_trained_where_the_answer_ends_the_thoughts(tokenizer):
    """Its generation prompt shows the thought of the call, the whole chat does not."""
    calling = {**CALLING, "reasoning_content": "I look."}
    answer = {**ANSWER, "reasoning_content": "I tell."}
    row = {**ROW, "messages": [ASK, calling, FOUND, answer]}

    texts, whole, example = spans(row, WHILE_TOOLS_ANSWER, tokenizer)

    assert texts == [CALL_TEXT + "</s>", ANSWER["content"] + "</s>"]
    assert "[I look.]" not in whole
    assert example.unlike_prompt
    assert (example.num_answers, example.num_not_found) == (2, 0)


def test_a_thought_before_the_generation_prompt_ends_is_trained_as_the_chat_tells_it(tokenizer):
    row = {"instruction": "2+2?", "output": "4", "reasoning": ["Two and two."]}

    texts, whole, example = spans(row, speech(OPENS + TEXT), tokenizer)

    assert whole == "<user>2+2?</s>\n<analysis>Two and two.</analysis><assistant>4</s>"
    assert texts[0].endswith("nalysis>Two and two.</analysis><assistant>4</s>")
    assert len(texts) == 1
    assert example.unlike_prompt


NO_ANSWERS = speech("{% if m.role != 'tool' %}" + TEXT + CALLS + "{% endif %}")
PLAIN: Any = {"instruction": "Say hi", "output": "hi"}


def laid_out(rows: list[Any], **changes: Any) -> Any:
    asked = {"model": "m", "dataset": "d", "template": "chat", "training": {"max_length": 512}}
    spec = JobSpec.model_validate(asked | changes)
    made = tokenizers.gpt2().with_chat_template(NO_ANSWERS)
    outlines = list(map(Outline.of, encode_rows(enumerate(rows), spec, made)))
    laid = describe(lay_out(outlines, None, spec, Limits(512, 512)), 512, packed=True)
    return laid, {each.code: each.message for each in about_rows(spec, laid, None)}


def failure(kind: type[RunFailed], rows: list[Any], **changes: Any) -> Any:
    with pytest.raises(kind) as caught:
        laid_out(rows, **changes)
    return caught.value.report


@pytest.mark.parametrize("at", [0, 5, 11])
def test_a_row_of_which_the_template_drops_a_part_is_left_out_as_one_it_refuses(at):
    rows = [ROW if number == at else PLAIN for number in range(12)]

    report = failure(BadRow, rows)

    assert report.code == "tool_calls_hidden"
    assert report.message.startswith(f'Row {at} (counted from 0), column "messages": ')
    assert "leaves out the answer of a tool" in report.message
    assert report.suggested_patch == {"on_invalid_row": "skip"}
    laid, told = laid_out(rows, **report.suggested_patch)
    assert (laid.refused.first, laid.train.trained_rows) == ([at], 11)
    assert laid.hidden == {}
    assert "leaves out the answer of a tool" in told["rows_refused"]


def test_more_such_rows_than_may_be_skipped_refuse_the_job():
    rows = [PLAIN, ROW, PLAIN, ROW]

    report = failure(TooManySkipped, rows, on_invalid_row="skip")

    assert "leaves out the answer of a tool" in report.evidence
    assert failure(BadRow, rows).suggested_patch == {
        "on_invalid_row": "skip",
        "max_skip_share": 0.5,
    }


@pytest.mark.parametrize("choice", ["error", "skip"])
def test_where_every_row_lacks_a_part_no_patch_helps(choice):
    report = failure(BadRow, [ROW, ROW], on_invalid_row=choice)

    assert (report.code, report.suggested_patch) == ("tool_calls_hidden", None)
