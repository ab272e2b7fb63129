"""Render canonical rows as text: the prompt, the answer, and which answers are trained.

A row's `weights` determine which; without them it is only its `output`.
"""

from dataclasses import dataclass

from app.core.datasets.formats import Row
from app.core.datasets.tokens.templates import alpaca_prompt, chat_messages
from app.core.datasets.tokens.tokenizer import RowTokenizer


@dataclass(frozen=True)
class Rendered:
    prompt: str
    """Empty for a `text` row."""
    answer: str
    """Includes the end of turn that a chat template writes."""
    unlike_prompt: bool = False
    """The rendered chat does not begin with the prompt for generation."""

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
    whole = tokenizer.render(whole_chat(row))
    if not whole.startswith(prompt):
        # For example, the generation prompt opens a thinking block that no answer has.
        return Rendered(prompt, row["output"] + _end(whole, row["output"]), unlike_prompt=True)
    return Rendered(prompt, _closed(whole.removeprefix(prompt), row["output"]))


def _closed(answer: str, output: str) -> str:
    """Remove the white space that a template writes after its end of turn: EOS comes next."""
    said = output.strip()
    end = answer.rpartition(said)[2] if said else ""
    return answer.rstrip() if end.strip() else answer


def _end(text: str, output: str) -> str:
    """Return the end of turn after an answer, without white space; "" if there is none."""
    said = output.strip()
    return text.rpartition(said)[2].rstrip() if said and said in text else ""


def prompt_text(row: Row, template: str, tokenizer: RowTokenizer) -> str:
    """Return the text a model is given before it answers."""
    if template == "text":
        return row.get("text", row.get("instruction", ""))
    if template == "alpaca":
        return alpaca_prompt(row)
    return tokenizer.render(chat_messages(row), add_generation_prompt=True)


def whole_text(row: Row, template: str, tokenizer: RowTokenizer) -> str:
    """Return prompt and answer as text."""
    return render(row, template, tokenizer).whole


def row_text(row: Row, template: str, train_on: str, tokenizer: RowTokenizer) -> str:
    """Return the text that is encoded: up to the last answer that is trained."""
    answers = trained_answers(row) if train_on == "completion" and template != "text" else []
    return whole_text(up_to(row, answers[-1]) if answers else row, template, tokenizer)


def whole_chat(row: Row) -> list[dict[str, str]]:
    return [*chat_messages(row), {"role": "assistant", "content": row["output"]}]


def answer_places(messages: list[dict[str, str]]) -> list[int]:
    """Return the index of each answer in a list of messages."""
    return [at for at, message in enumerate(messages) if message["role"] == "assistant"]


def trained_answers(row: Row) -> list[int]:
    """Return the 0-based indices of the trained answers: those of `history`, then `output`."""
    last = len(row.get("history", []))
    return [at for at, weight in enumerate(row.get("weights", [0] * last + [1])) if weight]


def up_to(row: Row, answer: int) -> Row:
    """Return the row as if the conversation had ended with that answer."""
    history = row.get("history", [])
    if answer == len(history):
        return row
    ask, said = history[answer]
    cut: Row = {"instruction": ask, "output": said, "history": history[:answer]}
    if "system" in row:
        cut["system"] = row["system"]
    return cut
