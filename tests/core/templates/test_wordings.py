"""Built-in templates have the published wording, and obey the rules for every template."""

from typing import Any

import pytest

from app.core.datasets.tokens import chat
from app.core.datasets.tokens.templates import NAMED, alpaca_prompt, chat_messages
from app.core.templates.probe import flaws_of
from app.core.templates.template import ours

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
SYSTEM = {"role": "system", "content": "Be brief."}
TURNS = [
    {"role": "user", "content": "Hi."},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "Me."},
]
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
PROMPTS = {
    # The ChatML document of OpenAI, after the BOS of the base if it has one.
    "chatml": (
        "<s><|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
        "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nBe brief.<|im_end|>\n",
    ),
    # generation.py of Meta's llama: each turn has a BOS and an EOS of its own.
    "llama-2": (
        "<s>[INST] {system}Hi. [/INST] Hello! </s><s>[INST] Who? [/INST]",
        "<<SYS>>\nBe brief.\n<</SYS>>\n\n",
    ),
    # The model card of Llama 3, whose BOS is <|begin_of_text|>.
    "llama-3": (
        "<s><|start_header_id|>user<|end_header_id|>\n\nHi.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>",
    ),
    # FastChat's vicuna_v1.1.
    "vicuna": (
        f"<s>{VICUNA} USER: Hi. ASSISTANT: Hello!</s>USER: Who? ASSISTANT:",
        "Be brief. ",
    ),
    # The tokenizer_config.json of zephyr-7b-beta, after the BOS that tokenizer adds.
    "zephyr": (
        "<s><|user|>\nHi.</s>\n<|assistant|>\nHello!</s>\n<|user|>\nWho?</s>\n<|assistant|>\n",
        "<|system|>\nBe brief.</s>\n",
    ),
}
ANSWERS = {
    "chatml": "Me.<|im_end|>\n",
    "llama-2": " Me. </s>",
    "llama-3": "Me.<|eot_id|>",
    "vicuna": " Me.</s>",
    "zephyr": "Me.</s>\n",
}


def render(name: str, messages: Any, **options: Any) -> str:
    return chat.render(
        ours()[name].text or "", messages, options.pop("special", SPECIAL), **options
    )


def with_system(name: str) -> str:
    plain, system = PROMPTS[name]
    if name == "llama-2":
        return plain.replace("{system}", system)
    if name == "vicuna":
        return plain.replace(f"{VICUNA} ", system)
    return plain.replace("<s>", f"<s>{system}", 1)


@pytest.mark.parametrize("name", NAMED)
def test_a_prompt_has_the_published_wording(name):
    plain = PROMPTS[name][0].replace("{system}", "")

    assert render(name, TURNS[:3], add_generation_prompt=True) == plain
    assert render(name, [SYSTEM, *TURNS[:3]], add_generation_prompt=True) == with_system(name)


@pytest.mark.parametrize("name", NAMED)
def test_an_answer_follows_its_prompt(name):
    for before in ([], [SYSTEM]):
        for size in (1, 3):
            prompt = render(name, [*before, *TURNS[:size]], add_generation_prompt=True)
            whole = render(name, [*before, *TURNS[: size + 1]])
            assert whole.startswith(prompt)
        assert whole == prompt + ANSWERS[name]


@pytest.mark.parametrize("name", NAMED)
def test_a_base_without_bos_gets_none(name):
    bare = {"eos_token": "</s>"}

    prompt = render(name, TURNS[:1], add_generation_prompt=True, special=bare)

    assert "<s>" not in prompt
    assert f"<s>{prompt}" == render(name, TURNS[:1], add_generation_prompt=True)


def test_chatml_does_not_open_a_turn_twice():
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}

    assert render("chatml", TURNS[:1], special=special) == "<|im_start|>user\nHi.<|im_end|>\n"


@pytest.mark.parametrize("history", [[], [["Say a", "a"], ["Say b", "b\n"]]])
@pytest.mark.parametrize("given", ["", "caf\u00e9 {{ x }}"])
@pytest.mark.parametrize("system", ["", "Be brief."])
def test_alpacas_chat_template_has_alpacas_words(system, given, history):
    row: Any = {"instruction": "Do {it}", "input": given, "system": system, "history": history}
    messages = chat_messages(row | {"input": ""})
    messages[-1]["input"] = given

    assert render("alpaca", messages, add_generation_prompt=True) == alpaca_prompt(row)
    messages.append({"role": "assistant", "content": "so"})
    assert render("alpaca", messages) == f"{alpaca_prompt(row)}so</s>"


@pytest.mark.parametrize("name", ["alpaca", *NAMED])
def test_ours_pass_what_a_servers_own_must(name):
    flaws, marks = flaws_of(ours()[name].text or "")

    assert flaws == []
    assert set(ours()[name].special_tokens) <= set(marks)
