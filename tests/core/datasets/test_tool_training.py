"""Rows with tools, as the model is trained on them: rendered by a chat template, or refused."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from app.api.answers import marked
from app.core.datasets import overlap
from app.core.datasets.layout.preview import PreviewSettings, preview
from app.core.datasets.tokens.chat import TemplateFailed
from app.core.datasets.tokens.encoding import encode
from app.core.datasets.tokens.hidden import ToolsHidden
from app.core.datasets.tokens.templates import NAMED
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.estimates.row_warnings import about_rows
from app.core.templates.template import ours
from app.services.checks import misfit
from tests.core.datasets.speech import CALLS, TEXT, laid, spans, speech
from tests.core.datasets.test_tool_rows import ANSWER, ASK, CALL, CALLING, FOUND, ROW, TOOL
from tests.training.bench import make_tokenizer

PLAIN = {"instruction": "a", "output": "b"}
OFFERED = {**PLAIN, "tools": [TOOL]}
BERGEN = {**CALL, "function": {"name": "weather", "arguments": {"place": "Bergen"}}}
BOTH = {**CALLING, "content": "Let me look."}
WRITES = speech(TEXT + CALLS)
IN_XML = speech(
    TEXT + "{% for c in m.tool_calls or [] %}<{{ c.function.name }}>"
    "{% for k, v in c.function.arguments | items %}<{{ k }}>{{ v }}</{{ k }}>{% endfor %}"
    "{% endfor %}"
)
FORGETS_TEXT = speech(
    "{% if m.tool_calls %}<assistant>{{ m.tool_calls | tojson }}{% else %}" + TEXT + "{% endif %}"
)


CALL_TEXT = '<call>{"name": "weather", "arguments": {"city": "Oslo"}}</call></s>'


def test_calls_and_answers_are_trained_and_what_tools_say_is_not(tokenizer):
    texts, whole, _ = spans(ROW, WRITES, tokenizer)

    assert texts == [CALL_TEXT, "7 degrees.</s>"]
    assert whole.startswith(json.dumps(TOOL) + "\n<user>And in Oslo?</s>\n<assistant><call>")
    assert "<tool>7</s>" in whole


def test_the_text_is_what_transformers_renders(tokenizer):
    theirs = make_tokenizer()
    theirs.chat_template = WRITES
    given = {**ROW, "messages": [ASK, {**BOTH, "tool_calls": [CALL, CALL]}, FOUND, FOUND, ANSWER]}

    _, whole, _ = spans(given, WRITES, tokenizer)

    text = theirs.apply_chat_template(given["messages"], tools=[TOOL], tokenize=False)
    assert whole == text.rstrip()


@pytest.mark.parametrize(
    ("weights", "trained"),
    [((0, 1), ["7 degrees.</s>"]), ((1, 0), [CALL_TEXT]), ((1, 1), [CALL_TEXT, "7 degrees.</s>"])],
)
def test_a_call_of_weight_0_is_not_trained(weights, trained, tokenizer):
    call, answer = ({**m, "weight": w} for m, w in zip([CALLING, ANSWER], weights, strict=True))

    texts, _, _ = spans({**ROW, "messages": [ASK, call, FOUND, answer]}, WRITES, tokenizer)

    assert texts == trained


def test_a_template_may_write_arguments_its_own_way(tokenizer):
    texts, _, _ = spans(ROW, IN_XML, tokenizer)

    assert texts == ["<weather><city>Oslo</city></s>", "7 degrees.</s>"]


def test_a_template_may_expect_arguments_as_text(tokenizer):
    call = "{% for c in m.tool_calls or [] %}{{ c.function.name + ':' + c.function.arguments }}"

    texts, _, _ = spans(ROW, speech(TEXT + call + "{% endfor %}"), tokenizer)

    assert texts == ['weather:{"city": "Oslo"}</s>', "7 degrees.</s>"]


def test_all_of_a_row_may_be_trained(tokenizer):
    texts, whole, _ = spans(ROW, WRITES, tokenizer, train_on="all")

    assert texts == [whole]


DROPS = {
    "the tool 'weather'": speech(TEXT + CALLS, head=""),
    "the call of 'weather'": speech(TEXT),
    "an argument of the call of 'weather'": speech(
        TEXT + "{% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %}"
    ),
    "the answer of a tool": speech("{% if m.role != 'tool' %}" + TEXT + CALLS + "{% endif %}"),
}


@pytest.mark.parametrize("what", DROPS)
def test_a_template_that_leaves_out_a_part_is_refused_with_its_name(what, tokenizer):
    with pytest.raises(ToolsHidden) as refused:
        spans(ROW, DROPS[what], tokenizer)

    assert refused.value.reason == f"the chat template leaves out {what}"


def test_a_template_that_raises_is_refused_with_its_sentence(tokenizer):
    template = "{% if messages | length > 2 %}{{ raise_exception('One call!') }}{% endif %}"

    with pytest.raises(TemplateFailed, match=r"Row 0: TemplateError: One call!"):
        spans(ROW, template, tokenizer)


@pytest.mark.parametrize("body", [TEXT + CALLS, TEXT])
def test_a_template_that_knows_its_tools_is_checked_by_their_names(body, tokenizer):
    knows = "{% for c in m.tool_calls or [] %}{% if c.function.name != 'weather' %}"
    knows += "{{ raise_exception('Unknown tool!') }}{% endif %}{% endfor %}"
    template = speech(knows + body)

    if body == TEXT:
        with pytest.raises(ToolsHidden, match="leaves out the call of 'weather'"):
            spans({"messages": [ASK, {**CALLING, "tool_calls": [BERGEN]}]}, template, tokenizer)
    else:
        assert spans(ROW, template, tokenizer)[0][0] == CALL_TEXT


@pytest.mark.parametrize("template", ["alpaca", "text", *NAMED])
def test_a_dry_run_refuses_templates_that_cannot_write_calls(template, base, tmp_path):
    first = {"text": "a"} if template == "text" else PLAIN

    answer, _ = laid(base, tmp_path, [first, ROW], template, ours()[template].chat_template)

    assert answer.refusal.code == "tool_calls_hidden"
    assert answer.refusal.message.startswith('Row 1 (counted from 0), column "messages": ')
    assert answer.refusal.hint.startswith('Use `template` "chat"')


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("alpaca", "Template 'alpaca' cannot write the tool calls of 'ds'."),
        ("zephyr", "Template 'zephyr' cannot write the tool calls of 'ds'."),
        ("text", "Template 'text' needs a column 'text'; 'ds' has none."),
        ("chat", None),
        ("house", None),
    ],
)
def test_a_post_refuses_what_the_columns_already_tell(template, reason):
    dataset: Any = SimpleNamespace(id="ds", features={"messages": "Json(decode=True)"})

    assert misfit(dataset, template) == reason


@pytest.mark.parametrize(
    ("template", "chat", "row", "code"),
    [
        ("chat", WRITES, OFFERED, None),
        ("chat", speech(TEXT, head=""), OFFERED, "tools_hidden"),
        ("alpaca", None, OFFERED, "tools_hidden"),
        ("chatml", ours()["chatml"].chat_template, OFFERED, "tools_hidden"),
        ("chat", WRITES, {**ROW, "messages": [ASK, BOTH]}, None),
        ("chat", FORGETS_TEXT, {**ROW, "messages": [ASK, BOTH]}, "text_of_call_hidden"),
    ],
)
def test_what_is_left_out_but_trainable_is_a_warning_with_a_count(
    template, chat, row, code, base, tmp_path
):
    answer, spec = laid(base, tmp_path, [PLAIN, row, row], template, chat)

    assert answer.refusal is None
    found = {each.code: each.message for each in about_rows(spec, answer.laid, None)}
    hidden = {name: message for name, message in found.items() if name.endswith("_hidden")}
    assert list(hidden) == ([code] if code else [])
    assert all("2 of 3 rows (rows 1, 2, counted from 0)" in each for each in hidden.values())


def test_a_preview_shows_calls_and_marks_them(tokenizer):
    settings = PreviewSettings("chat", WRITES, (), "completion", max_length=512, packing=True)

    (shown,) = preview([(0, ROW)], settings, tokenizer)

    trained = "".join(each["text"] for each in shown["tokens"] if each["trained"])
    assert trained == CALL_TEXT + "7 degrees.</s>"
    assert "<call>" in shown["text"]
    row: Any = SimpleNamespace(tokens=[SimpleNamespace(**each) for each in shown["tokens"]])
    assert f"{marked.OPEN}{CALL_TEXT}{marked.CLOSE}" in marked._marked(row)


def test_the_template_named_tool_use_renders_rows_with_tools(tokenizer):
    made = RowTokenizer.from_backend(
        tokenizer.core, tokenizer.special_tokens, {"default": speech(TEXT), "tool_use": WRITES}
    )

    assert encode([(0, ROW)], "chat", "completion", made)[0].num_trained
    assert made.render([ASK], tools=[]) == "<user>And in Oslo?</s>\n"


def test_saved_templates_are_read_by_the_rule_of_transformers(tmp_path):
    theirs = make_tokenizer()
    theirs.chat_template = {"default": speech(TEXT), "tool_use": WRITES}
    theirs.save_pretrained(tmp_path)

    ours_ = RowTokenizer.from_folder(tmp_path)

    expected = theirs.apply_chat_template(ROW["messages"], tools=[TOOL], tokenize=False)
    assert ours_.render(ROW["messages"], tools=[TOOL]) == expected


def test_rows_with_calls_are_compared_by_prompt_and_answer():
    def lines(*rows: Any) -> list[bytes]:
        return [json.dumps(row).encode() for row in rows]

    other = {**ROW, "messages": [*ROW["messages"][:3], {**ANSWER, "content": "Seven."}]}
    silent = {**ROW, "messages": [ASK, {**CALLING, "weight": 0}, FOUND, ANSWER]}

    found = overlap.count(lines(ROW, PLAIN), lines(other, silent, {"messages": [ASK, CALLING]}))

    assert (found.exact.rows, found.same_prompt.rows) == (1, 2)


ENDS_DIFFERENTLY = (
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}<{{ m.role }}>"
    "{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }}"
    + CALLS
    + "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_a_call_that_the_whole_chat_tells_otherwise_is_found_there(tokenizer):
    texts, _, example = spans(ROW, ENDS_DIFFERENTLY, tokenizer)

    assert texts == [CALL_TEXT, "<think></think>7 degrees.</s>"]
    assert (example.num_answers, example.num_not_found) == (2, 0)


def test_a_call_after_a_prompt_that_opens_a_thought_is_trained_from_its_first_mark(tokenizer):
    opens = ENDS_DIFFERENTLY.replace("<assistant>{% endif %}", "<assistant><think>{% endif %}")

    texts, _, example = spans(ROW, opens, tokenizer)

    assert texts == [CALL_TEXT, "</think>7 degrees.</s>"]
    assert example.unlike_prompt
