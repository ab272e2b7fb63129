"""Render canonical rows as text: the prompt, the answer, and which answers are trained.

A row's `weights` determine which; without them it is only its `output`. In a row of `messages` it
is every assistant message whose `weight` is not 0. Answers are counted from 0, the last included.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from app.core.datasets.formats import Message, Row
from app.core.datasets.tokens.chat import TemplateFailed
from app.core.datasets.tokens.spans import Render, around, find
from app.core.datasets.tokens.templates import alpaca_prompt, answer_message, chat_messages
from app.core.datasets.tokens.tokenizer import RowTokenizer


@dataclass(frozen=True)
class Rendered:
    prompt: str
    """Empty for a `text` row."""
    answer: str
    """Includes the end of turn that a chat template writes."""
    unlike_prompt: bool = False
    """The rendered chat does not begin with the prompt for generation."""
    is_told: bool = False
    """All is as in the rendered chat, also the prompt."""

    @property
    def whole(self) -> str:
        return self.prompt + self.answer


def render(row: Row, template: str, tokenizer: RowTokenizer) -> Rendered:
    """Render a row up to its last answer. Raises chat.TemplateFailed."""
    if template == "text":
        return Rendered("", row["text"])
    prompt = prompt_text(row, template, tokenizer)
    if template == "alpaca":
        return Rendered(prompt, row["output"])
    whole = render_chat(tokenizer, row)(whole_chat(row))
    answer = answer_message(row)
    if whole.startswith(prompt):
        return Rendered(prompt, _closed(whole.removeprefix(prompt), answer))
    # For example, the generation prompt opens a thinking block that no answer has.
    if {"tool_calls", "reasoning_content"} & answer.keys():
        return _as_told(row, whole, tokenizer)
    end = _end(whole, whole_chat(row), render_chat(tokenizer, row))
    return Rendered(prompt, answer["content"] + end, unlike_prompt=True)


def render_chat(tokenizer: RowTokenizer, row: Row) -> Render:
    """Return what renders messages of a row, with its tools."""
    return partial(tokenizer.render, tools=row.get("tools"))


def _as_told(row: Row, whole: str, tokenizer: RowTokenizer) -> Rendered:
    """Render an answer that is more than its content, as the whole chat has it."""
    messages = whole_chat(row)
    last = len(messages) - 1
    begins = list(tokenizer.special_tokens.values())
    write = render_chat(tokenizer, row)
    (span,) = find(whole, messages, [last], write, begins, is_prompt=False)
    if span is None:
        raise TemplateFailed("The last answer cannot be found in the text of the chat.")
    prompt = whole[: span.start]
    return Rendered(prompt, whole[span.start :].rstrip(), unlike_prompt=True, is_told=True)


def _closed(text: str, answer: Message) -> str:
    """Remove the white space that a template writes after its end of turn: EOS comes next."""
    if "tool_calls" in answer:
        return text.rstrip()
    said = answer["content"].strip()
    end = text.rpartition(said)[2] if said else ""
    return text.rstrip() if end.strip() else text


def _end(text: str, messages: list[Message], write: Render) -> str:
    """Return the end of turn after the last answer, without white space; "" if there is none.

    It is what follows another answer, too: in `d<|end|>` it is not what follows the last d.
    """
    said = messages[-1]["content"].strip()
    with suppress(TemplateFailed):
        before, end = around(messages, len(messages) - 1, write)
        told = text.removeprefix(before).removesuffix(end).strip()
        if told == said and len(before) + len(end) < len(text):
            return end.rstrip()
    return text.rpartition(said)[2].rstrip() if said and said in text else ""


def prompt_text(row: Row, template: str, tokenizer: RowTokenizer) -> str:
    """Return the text a model is given before it answers."""
    if template == "text":
        return row.get("text", row.get("instruction", ""))
    if template == "alpaca":
        return alpaca_prompt(row)
    return tokenizer.render(chat_messages(row), tools=row.get("tools"), add_generation_prompt=True)


def whole_text(row: Row, template: str, tokenizer: RowTokenizer) -> str:
    """Return prompt and answer as text."""
    return render(row, template, tokenizer).whole


def row_text(row: Row, template: str, train_on: str, tokenizer: RowTokenizer) -> str:
    """Return the text that is encoded: up to the last answer that is trained."""
    answers = trained_answers(row) if train_on == "completion" and template != "text" else []
    return whole_text(up_to(row, answers[-1]) if answers else row, template, tokenizer)


def whole_chat(row: Row) -> list[Message]:
    return [*chat_messages(row), answer_message(row)]


def answer_places(messages: list[Message]) -> list[int]:
    """Return the index of each answer in a list of messages."""
    return [at for at, message in enumerate(messages) if message["role"] == "assistant"]


def trained_answers(row: Row) -> list[int]:
    """Return the 0-based indices of the trained answers: those of `history`, then `output`."""
    if "messages" in row:
        answers = [each for each in row["messages"] if each["role"] == "assistant"]
        return [at for at, each in enumerate(answers) if each.get("weight", 1)]
    last = len(row.get("history", []))
    return [at for at, weight in enumerate(row.get("weights", [0] * last + [1])) if weight]


def up_to(row: Row, answer: int) -> Row:
    """Return the row as if the conversation had ended with that answer."""
    if "messages" in row:
        messages = row["messages"]
        return {**row, "messages": messages[: answer_places(messages)[answer] + 1]}
    history = row.get("history", [])
    if answer == len(history):
        return row
    ask, said = history[answer]
    cut: Row = {"instruction": ask, "output": said, "history": history[:answer]}
    if "system" in row:
        cut["system"] = row["system"]
    if any(thoughts := row.get("reasoning", [])[: answer + 1]):
        cut["reasoning"] = thoughts
    if "tools" in row:
        cut["tools"] = row["tools"]
    return cut
