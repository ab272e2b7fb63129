"""Handles a template and a tokenizer that were not made for each other."""

from typing import Any

from app.core.datasets.formats import Row
from app.core.datasets.tokens.templates import alpaca_prompt
from app.core.jobs.protocol import Plan
from worker.training.data import row_tokenizer
from worker.training.plan import frozen_template


def missing_marks(plan: Plan, tokenizer: Any) -> list[str]:
    """The template's special tokens that are not one token here; training continues anyway."""
    return row_tokenizer(tokenizer).spelled_out(frozen_template(plan).special_tokens)


def alpaca_as_chat(plan: Plan, tokenizer: Any) -> str | None:
    """The Alpaca prompt as a chat template that renders exactly the tokens used in training.

    None if there is no such template: a tokenizer may start a text with other tokens than its BOS.
    """
    plain = row_tokenizer(tokenizer)
    row: Row = {"instruction": "Say it.", "input": "so", "system": "Be brief."}
    message = {"role": "user", "content": row["instruction"], "input": row["input"]}
    messages = [{"role": "system", "content": row["system"]}, message]
    (expected,) = plain.ids([alpaca_prompt(row)], special=True)
    expected = expected[:-1] if expected[-1] == plain.eos_id else expected
    text = frozen_template(plan).text or ""
    for start in ("", "{{ bos_token }}"):
        prompt = plain.with_chat_template(start + text).render(messages, add_generation_prompt=True)
        if plain.ids([prompt], special=False) == [expected]:
            return start + text
    return None
