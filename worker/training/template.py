"""A template and a tokenizer that were not made for each other."""

from typing import Any

from app.core.datasets.formats import Row
from app.core.datasets.tokens.templates import alpaca_prompt
from app.core.jobs.protocol import Plan
from worker.training.data import row_tokenizer
from worker.training.plan import frozen_template


def missing_marks(plan: Plan, tokenizer: Any) -> list[str]:
    """Of a template made for another tokenizer; it is trained nevertheless."""
    return row_tokenizer(tokenizer).spelled_out(frozen_template(plan).special_tokens)


def alpaca_as_chat(plan: Plan, tokenizer: Any) -> str | None:
    """Alpaca's wording as a chat template that gives the very tokens that were trained.

    None where none can: a tokenizer may begin a text otherwise than by its BOS.
    """
    plain = row_tokenizer(tokenizer)
    row: Row = {"instruction": "Say it.", "input": "so", "system": "Be brief."}
    message = {"role": "user", "content": row["instruction"], "input": row["input"]}
    messages = [{"role": "system", "content": row["system"]}, message]
    (wanted,) = plain.ids([alpaca_prompt(row)], special=True)
    wanted = wanted[:-1] if wanted[-1] == plain.eos_id else wanted
    text = frozen_template(plan).text or ""
    for start in ("", "{{ bos_token }}"):
        prompt = plain.with_chat_template(start + text).render(messages, add_generation_prompt=True)
        if plain.ids([prompt], special=False) == [wanted]:
            return start + text
    return None
