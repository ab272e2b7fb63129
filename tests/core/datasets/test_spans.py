"""Every answer that is to be trained is found, also where a template tells the past otherwise."""

from itertools import product
from typing import Any

import pytest

from app.core.datasets.layout.described import describe
from app.core.datasets.layout.splits import lay_out
from app.core.datasets.tokens.encoding import IGNORED, Example, encode
from app.core.datasets.tokens.rendering import prompt_text, up_to, whole_text
from app.core.datasets.tokens.spans import find
from app.core.datasets.tokens.templates import NAMED
from app.core.estimates.row_warnings import about_rows
from app.core.jobs.spec import JobSpec
from app.core.models.limits import Limits
from app.core.templates.template import ours
from tests.core.datasets import tokenizers

TURNS = [["2+2?", "4"], ["3+3?", "6"], ["4+4?", "eight: or\nso"]]
ROW: Any = {"history": TURNS[:1], "instruction": "3+3?", "output": "6", "weights": [1, 1]}
LONG: Any = {
    **{"system": "Be brief.", "history": TURNS[:2], "instruction": "4+4?"},
    **{"output": "eight: or\nso", "weights": [1, 1, 1]},
}
KINDS = [
    tokenizers.gpt2, tokenizers.prefixing, tokenizers.split_first, tokenizers.metaspace,
    tokenizers.metaspace_first,
]  # fmt: skip
WEIGHTS = [list(each) for each in product([0, 1], repeat=3) if any(each)]

PHI_3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
    "{{ '<|assistant|>\\n' if add_generation_prompt else eos_token }}"
)
ON_ONE_LINE = PHI_3.replace("\\n", "")
WITH_BOS = "{{ bos_token }}" + ON_ONE_LINE
QWEN_3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{% if m.role == 'assistant' %}{% set said = m.content.split('</think>')[-1].lstrip('\\n') %}"
    "{% set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\\n') "
    "if '</think>' in m.content else '' %}"
    "{% if loop.index0 > ns.last and (loop.last or thought) %}"
    "{{ '<think>\\n' + thought + '\\n</think>\\n\\n' + said }}{% else %}{{ said }}{% endif %}"
    "{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MARKED = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content if loop.last else m.content | upper }}{{ '<|end|>' }}"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{{ '<|assistant|>' if add_generation_prompt else eos_token }}"
)
MARKED_SHORT = MARKED.replace(
    "{{ '<|end|>' }}{% endgeneration %}", "{% endgeneration %}{{ '<|end|>' }}"
)
NO_MARK = MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
FORGETFUL = PHI_3.replace(
    "m.content +", "(m.content if loop.last or m.role != 'assistant' else '') +"
)
TWICE = PHI_3.replace("m.content +", "m.content + m.content +")


def encoded(row: Any, made: Any, template: str | None, name: str = "chat") -> Example:
    (example,) = encode([(0, row)], name, "completion", made.with_chat_template(template))
    return example


def trained(example: Example, made: Any) -> list[str]:
    """The text of each run of trained tokens."""
    runs: list[list[int]] = []
    for before, label in zip([IGNORED, *example.labels], example.labels, strict=False):
        if label != IGNORED:
            runs += [[]] if before == IGNORED else []
            runs[-1].append(label)
    return [made.decode(run) for run in runs]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("marks", [["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"], []])
@pytest.mark.parametrize("template", [PHI_3, ON_ONE_LINE, WITH_BOS])
def test_an_end_that_stands_only_after_the_last_answer_hides_no_earlier_one(template, marks, kind):
    made = kind(marks)
    if template != PHI_3 and not marks:
        return  # `<|end|><|user|>` may share tokens: see the test of texts below

    for row, answers in ((ROW, ["4", "6"]), (LONG, ["4", "6", "eight: or\nso"])):
        example = encoded(row, made, template)

        found = [each.strip() for each in trained(example, made)]
        assert found[:-1] == [f"{each}<|end|>" for each in answers[:-1]]
        newline = "\n" if template == PHI_3 else ""
        assert found[-1].replace("> ", ">") == f"{answers[-1]}<|end|>{newline}</s>"
        assert (example.num_answers, example.num_not_found) == (len(answers), 0)
        assert not example.unlike_prompt


@pytest.mark.parametrize("thought", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_whose_thought_is_dropped_is_trained_as_it_is_told(kind, thought):
    made = kind(["<|im_start|>", "<|im_end|>"])
    think = "<think>\nI add.\n</think>\n\n" if thought else ""
    row = {**ROW, "history": [["2+2?", think + "4"]], "output": think + "6"}

    example = encoded(row, made, QWEN_3)

    told = think or "<think>\n\n</think>\n\n"
    found = [each.strip() for each in trained(example, made)]
    assert found == ["4<|im_end|>", f"{told}6<|im_end|></s>"]
    assert not example.num_not_found


@pytest.mark.parametrize("template", [MARKED, MARKED_SHORT])
def test_what_the_template_marks_as_generated_is_found_however_it_is_told(template):
    made = tokenizers.gpt2(["<|end|>", "<|user|>", "<|assistant|>"])
    row = {**ROW, "history": [["2+2?", "four"]]}

    example = encoded(row, made, template)

    assert trained(example, made) == ["FOUR<|end|>", "6<|end|>\n</s>"]
    assert not example.num_not_found


def test_a_template_that_changes_an_answer_needs_no_marks():
    made = tokenizers.gpt2(["<|end|>", "<|user|>", "<|assistant|>"])

    example = encoded({**ROW, "history": [["2+2?", "four"]]}, made, NO_MARK)

    assert trained(example, made) == ["FOUR<|end|>", "6<|end|>\n</s>"]


@pytest.mark.parametrize(
    ("template", "row", "answers", "lost"),
    [(FORGETFUL, LONG, 3, 2), (TWICE, LONG, 3, 2), (FORGETFUL, ROW, 2, 1)],
)
def test_an_answer_that_is_not_told_is_counted(template, row, answers, lost):
    made = tokenizers.gpt2(["<|end|>"])

    example = encoded(row, made, template)

    assert (example.num_answers, example.num_not_found) == (answers, lost)
    assert len(trained(example, made)) == answers - lost
    assert example.unlike_prompt


def test_of_several_answers_the_ones_that_are_told_are_trained():
    made = tokenizers.gpt2(["<|end|>"])
    second = "(m.content if loop.last or loop.index != 3 else '') +"
    template = PHI_3.replace("m.content +", second)

    example = encoded(LONG, made, template)

    assert [each.strip() for each in trained(example, made)] == [
        "6<|end|>",
        "eight: or\nso<|end|>\n</s>",
    ]
    assert example.num_not_found == 1


@pytest.mark.parametrize("template", [PHI_3, ON_ONE_LINE, WITH_BOS, QWEN_3, MARKED, MARKED_SHORT])
def test_spans_are_texts_of_the_chat(template):
    end = "<|im_end|>" if template == QWEN_3 else "<|end|>"
    made = tokenizers.gpt2().with_chat_template(template)
    messages: list[Any] = []
    for ask, said in TURNS:
        messages += [{"role": "user", "content": ask}, {"role": "assistant", "content": said}]
    messages += [{"role": "user", "content": "Go on"}]
    text = made.render(messages, add_generation_prompt=True)

    spans = find(text, messages, [1, 3, 5], made.render, ["<s>"])

    upper = str.upper if "upper" in template else str
    assert [span and text[span.start : span.end] for span in spans] == [
        upper(said) + end for _, said in TURNS
    ]
    assert all(span and span.follows_prompt for span in spans)


def test_earlier_answers_of_a_template_whose_prompt_opens_a_thought_are_trained():
    """As DeepSeek-R1 does: only the prompt of the last answer opens one."""
    template = PHI_3.replace("'<|assistant|>\\n' if", "'<|assistant|>\\n<think>\\n' if")
    made = tokenizers.gpt2(["<|user|>", "<|assistant|>", "<|end|>"])

    example = encoded(LONG, made, template)

    found = [each.strip() for each in trained(example, made)]
    assert found == ["4<|end|>", "6<|end|>", "eight: or\nso<|end|>\n</s>"]
    assert made.decode(example.input_ids).count("<think>") == 1
    assert example.unlike_prompt
    assert not example.num_not_found


@pytest.mark.parametrize("odd", ["\ufdd0", "\ufdd1", "\ufdd0\ufdd1", "\ufdd2"])
@pytest.mark.parametrize("template", [PHI_3, MARKED])
def test_characters_that_the_search_uses_may_be_in_a_text(template, odd):
    made = tokenizers.gpt2(["<|user|>", "<|assistant|>", "<|end|>"])
    row = {**ROW, "history": [[f"2{odd}2?", "4"]]}

    example = encoded(row, made, template)

    assert odd in made.decode(example.input_ids)
    assert trained(example, made)[-1] == "6<|end|>\n</s>"
    assert len(trained(example, made)) == 2 - example.num_not_found


def test_a_call_between_tool_answers_is_found_in_a_text_that_drops_thoughts():
    """An answer's message may hold calls and thoughts, which a later user message changes."""
    template = (
        "{% set last = messages[-1].role == 'tool' %}{% for m in messages %}<{{ m.role }}>"
        "{% if m.thought and last %}[{{ m.thought }}]{% endif %}{{ m.content }}"
        "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}<end>{{ '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% else %}{{ eos_token }}{% endif %}"
    )
    call = {"function": {"name": "add", "arguments": {"a": 2}}}
    messages: list[Any] = [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "", "thought": "I call.", "tool_calls": [call]},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "It is 4", "thought": "I tell."},
        {"role": "user", "content": "Again?"},
    ]
    made = tokenizers.gpt2().with_chat_template(template)
    text = made.render(messages, add_generation_prompt=True)

    first, second = find(text, messages, [1, 3], made.render)

    assert first
    assert text[first.start : first.end] == (
        '[{"function": {"name": "add", "arguments": {"a": 2}}}]<end>'
    )
    assert second
    assert text[second.start : second.end] == "It is 4<end>"
    assert first.follows_prompt
    assert not second.follows_prompt  # generation would still see the thought


ENDS = {"chatml": "<|im_end|>", "llama-2": " </s>", "llama-3": "<|eot_id|>"}


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMED)
def test_a_named_template_ends_each_trained_answer_in_its_own_end(name, kind, weights):
    template = ours()[name]
    made = kind(template.special_tokens)
    row = {**LONG, "weights": weights}

    example = encoded(row, made, template.text, name)

    end = ENDS.get(name, "</s>")
    wanted = [f"{said}{end}" for (_, said), weight in zip(TURNS, weights, strict=True) if weight]
    if not end.endswith("</s>"):
        wanted[-1] += "</s>"
    assert [each.lstrip() for each in trained(example, made)] == wanted
    assert (example.num_answers, example.num_not_found) == (sum(weights), 0)


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("name", ["alpaca", *NAMED])
@pytest.mark.parametrize("kind", KINDS)
def test_prompt_ids_are_those_of_generation_at_the_first_answer_and_read_alike(kind, name, marks):
    template = ours()[name]
    made = kind(template.special_tokens if marks else ()).with_chat_template(template.chat_template)

    (example,) = encode([(0, LONG)], name, "completion", made)

    prompt = prompt_text(up_to(LONG, 0), name, made)
    (ids,) = made.ids([prompt], special=False)
    assert example.input_ids[: len(ids)] == ids
    assert example.prompt_size == len(ids)
    assert len(trained(example, made)) == 3
    (whole,) = made.ids([whole_text(LONG, name, made)], special=False)
    assert made.decode(example.input_ids).removesuffix("</s>") == made.decode(whole).removesuffix(
        "</s>"
    )


@pytest.mark.parametrize("kind", [tokenizers.gpt2, tokenizers.split_first])
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_llama_3_trains_every_answer_where_two_newlines_and_a_word_share_no_token(kind, weights):
    """GPT-2 takes the second newline with the word after it; a prompt ends in both."""
    llama = ours()["llama-3"]
    made = kind()
    (prompt, whole) = made.ids(["\n\n", "\n\n4"], special=False)
    assert whole[: len(prompt)] != prompt

    example = encoded({**LONG, "weights": weights}, made, llama.text, "llama-3")

    found = trained(example, made)
    wanted = [said for (_, said), weight in zip(TURNS, weights, strict=True) if weight]
    assert len(found) == len(wanted)
    for said, answer in zip(found, wanted, strict=True):
        assert said.startswith(answer + "<|eot_id|>")
    at = example.prompt_size
    assert example.input_ids[at - len(prompt) : at] == prompt


SPACED = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + (eos_token if m.role == 'assistant' "
    "else '\n') }}{% endfor %}{{ 'assistant: ' if add_generation_prompt }}"
)


@pytest.mark.parametrize("row", [{"instruction": "hi", "output": "hi"}, LONG])
@pytest.mark.parametrize("template", [SPACED, SPACED.replace(": ", " ")])
@pytest.mark.parametrize("kind", [tokenizers.metaspace, tokenizers.metaspace_first])
def test_after_a_prompt_that_ends_in_a_space_comes_one_space(kind, template, row):
    made = kind()

    example = encoded(row, made, template)

    text = whole_text(row, "chat", made.with_chat_template(template))
    # The tokenizer itself begins a text after a mark with a space.
    said = made.decode(example.input_ids).replace("</s> ", "</s>")
    assert said.strip() == text.strip()
    prompts = [up_to(row, at) for at in range(len(row.get("weights", [1])))]
    (ids,) = made.ids(
        [prompt_text(prompts[0], "chat", made.with_chat_template(template))], special=False
    )
    assert example.input_ids[: len(ids)] == ids
    assert "\u2581\u2581" not in "".join(made.core.id_to_token(each) for each in example.input_ids)
    assert len(trained(example, made)) == len(prompts)


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_turns_of_alpaca_are_told_as_generation_tells_them(kind, weights):
    made = kind()
    last = max(at for at, weight in enumerate(weights) if weight)

    example = encoded({**LONG, "weights": weights}, made, None, "alpaca")

    assert example.input_ids.count(made.eos_id) == 1
    assert example.input_ids[-1] == made.eos_id
    part = up_to(LONG, last)
    (ids,) = made.ids([prompt_text(part, "alpaca", made)], special=True)
    assert example.input_ids[: len(ids)] == ids
    found = trained(example, made)
    wanted = [said for (_, said), weight in zip(TURNS, weights, strict=True) if weight]
    assert [each.strip() for each in found] == [*wanted[:-1], wanted[-1] + "</s>"]


def test_a_job_is_told_how_many_answers_of_how_many_are_not_trained():
    made = tokenizers.gpt2(["<|end|>"]).with_chat_template(FORGETFUL)
    rows = list(enumerate([LONG, {**ROW, "weights": [0, 1]}, ROW]))
    spec = JobSpec(model="m", dataset="d", template="chat")
    examples = encode(rows, "chat", "completion", made)

    laid = describe(lay_out(examples, None, spec, Limits(512, 512)), 512, packed=True)

    told = {each.code: each for each in about_rows(spec, laid, None)}
    assert told["answers_not_trained"].message.startswith("3 of 6 answers are not trained: ")
    assert "rows 0, 2, counted from 0" in told["answers_not_trained"].message
    assert "generation_prompt_differs" not in told


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said", ["d", "end", "|", "6 end d", "seven "])
def test_an_answer_that_is_part_of_its_end_of_turn_is_ended_in_full(kind, said):
    """After a prompt that opens a thought, the end is taken from the whole chat."""
    template = ON_ONE_LINE.replace("'<|assistant|>' if", "'<|assistant|><think>' if")
    template = template.replace("else eos_token", "else ''")
    made = kind(["<|user|>", "<|assistant|>", "<|end|>"])

    example = encoded({"instruction": "Which?", "output": said}, made, template)

    assert example.unlike_prompt
    assert [each.strip() for each in trained(example, made)] == [f"{said}<|end|></s>"]


DIALO = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [ROW, {**ROW, "weights": [0, 1]}, LONG])
def test_an_eos_that_the_template_writes_after_a_question_is_not_trained(kind, row):
    """As DialoGPT does: the prompt ends in an EOS, and the answer follows it."""
    made = kind()
    example = encoded(row, made, DIALO)

    said = [*(answer for _, answer in row.get("history", [])), row["output"]]
    wanted = [each for each, weight in zip(said, row["weights"], strict=True) if weight]
    assert [each.strip() for each in trained(example, made)] == [f"{each}</s>" for each in wanted]
    prompt = prompt_text(
        up_to(row, row["weights"].index(1)), "chat", made.with_chat_template(DIALO)
    )
    assert made.ids([prompt], special=False) == [example.input_ids[: example.prompt_size]]
