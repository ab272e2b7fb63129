"""Samples: the likeliest token each time, up to any of the base's end tokens."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from worker.training.samples import generate, replaced_defaults

PROMPTS = ["Say 3", "Say many words"]


@pytest.fixture
def model(tiny_base) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_base).eval()


def by_hand(model: Any, tokenizer: Any, prompt: str, ends: set[int], most: int = 24) -> str:
    ids = tokenizer(prompt)["input_ids"]
    ids = ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
    new: list[int] = []
    while len(new) < most and not ends & set(new):
        with torch.no_grad():
            new.append(int(model(torch.tensor([ids + new])).logits[0, -1].argmax()))
    text: str = tokenizer.decode([each for each in new if each not in ends]).strip()
    return text


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"repetition_penalty": 3.0},
        {"no_repeat_ngram_size": 2},
        {"do_sample": True, "temperature": 5.0, "top_k": 50},
        {"num_beams": 3},
        {"suppress_tokens": list(range(20, 200))},
        {"min_new_tokens": 8},
        {"begin_suppress_tokens": list(range(20, 200))},
    ],
)
def test_samples_are_greedy_whatever_generation_config_says(model, tokenizer, changes):
    for name, value in changes.items():
        setattr(model.generation_config, name, value)

    answers = generate(model, tokenizer, PROMPTS, max_new_tokens=24)

    ends = {tokenizer.eos_token_id}
    assert answers == [by_hand(model, tokenizer, each, ends) for each in PROMPTS]


@pytest.mark.parametrize("place", ["generation config", "config"])
@pytest.mark.parametrize("is_adapted", [False, True])
def test_samples_stop_at_every_end_token_of_the_base(model, tokenizer, place, is_adapted):
    (long,) = generate(model, tokenizer, PROMPTS[:1], max_new_tokens=24)
    third = tokenizer(long, add_special_tokens=False)["input_ids"][2]
    ends = [tokenizer.eos_token_id, third]
    if place == "config":
        model.config.eos_token_id = ends
        model.generation_config.eos_token_id = None
    else:
        model.generation_config.eos_token_id = ends
    if is_adapted:
        model = get_peft_model(model, LoraConfig(r=2, task_type="CAUSAL_LM")).eval()

    (answer,) = generate(model, tokenizer, PROMPTS[:1], max_new_tokens=24)

    assert len(answer) < len(long)
    assert long.startswith(answer.removesuffix(tokenizer.decode([third])).rstrip())


def test_the_models_own_defaults_are_put_back(model, tokenizer):
    kept = model.generation_config
    kept.repetition_penalty = 2.0
    with pytest.raises(ZeroDivisionError), replaced_defaults(model, object()):
        raise ZeroDivisionError

    generate(model, tokenizer, PROMPTS[:1], max_new_tokens=2)
    assert model.generation_config is kept
    assert kept.repetition_penalty == 2.0
