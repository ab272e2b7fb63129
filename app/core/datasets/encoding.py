"""Canonical rows into token ids and labels: what the trainer trains and the preview shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.datasets.formats import Row
from app.core.datasets.templates import alpaca_prompt, chat_messages
from app.core.datasets.tokenizer import RowTokenizer

IGNORED = -100
"""Label of a position that is not trained."""


@dataclass(frozen=True)
class Example:
    """One row as tokens; labels are the tokens themselves where they are trained."""

    input_ids: list[int]
    labels: list[int]
    row: int
    """Counted from 0 in the rows file."""
    unlike_prompt: bool = False
    """The rendered chat does not begin with the prompt that generation starts from."""

    @property
    def num_trained(self) -> int:
        # The first token has nothing before it to be predicted from.
        return sum(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True)
class _Rendered:
    prompt: str
    """Empty for a ready text."""
    answer: str
    unlike_prompt: bool = False

    @property
    def whole(self) -> str:
        return self.prompt + self.answer


def encode(
    rows: Sequence[tuple[int, Row]], template: str, train_on: str, tokenizer: RowTokenizer
) -> list[Example]:
    """Numbered rows whole, each answer ended by EOS; prompt ids are those generation starts from.

    Raises chat.TemplateFailed.
    """
    rendered = [_render(row, template, tokenizer) for _, row in rows]
    special = template != "chat"  # a chat template writes its special tokens itself
    whole = tokenizer.ids([each.whole for each in rendered], special=special)
    heads = tokenizer.ids([each.prompt for each in rendered], special=special)
    examples = []
    for (number, _), text, full, head in zip(rows, rendered, whole, heads, strict=True):
        start = _without_end(head, tokenizer) if text.prompt else []
        ids = ended(full, tokenizer, template)
        if ids[: len(start)] != start:
            # A token spans the border. Generation will see the prompt's own tokens: train on those.
            (answer,) = tokenizer.ids([text.answer], special=False)
            ids = start + ended(answer, tokenizer, template)
        masked = 0 if train_on == "all" else len(start)
        labels = [IGNORED] * masked + ids[masked:]
        examples.append(Example(ids, labels, number, text.unlike_prompt))
    return examples


def prompt_text(row: Row, template: str, tokenizer: RowTokenizer) -> str:
    """What a model is given before it answers."""
    if template == "text":
        return row.get("text", row.get("instruction", ""))
    if template == "alpaca":
        return alpaca_prompt(row)
    return tokenizer.render(chat_messages(row), add_generation_prompt=True)


def whole_text(row: Row, template: str, tokenizer: RowTokenizer) -> str:
    """Prompt and answer, before any token is made of them."""
    return _render(row, template, tokenizer).whole


def ended(ids: list[int], tokenizer: RowTokenizer, template: str) -> list[int]:
    """With one EOS at the end. What a chat template writes after its own, a newline, is cut."""
    eos = tokenizer.eos_id
    if ids[-1:] == [eos]:
        return ids
    if template == "chat" and eos in ids:
        size = len(ids) - ids[::-1].index(eos)
        if not tokenizer.decode(ids[size:]).strip():
            return ids[:size]
    return [*ids, eos]


def _render(row: Row, template: str, tokenizer: RowTokenizer) -> _Rendered:
    if template == "text":
        return _Rendered("", row["text"])
    prompt = prompt_text(row, template, tokenizer)
    if template == "alpaca":
        return _Rendered(prompt, row["output"])
    messages = [*chat_messages(row), {"role": "assistant", "content": row["output"]}]
    whole = tokenizer.render(messages)
    if not whole.startswith(prompt):
        # The generation prompt opens a thought, say, that no answer has.
        return _Rendered(prompt, row["output"], unlike_prompt=True)
    return _Rendered(prompt, whole.removeprefix(prompt))


def _without_end(ids: list[int], tokenizer: RowTokenizer) -> list[int]:
    """A tokenizer that ends every text with EOS would tell the model to answer after the end."""
    return ids[:-1] if ids[-1:] == [tokenizer.eos_id] else ids
