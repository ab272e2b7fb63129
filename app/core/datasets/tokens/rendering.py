"""Canonical rows as texts: what stands before an answer, the answer, and which answers are trained.

A row's `weights` say which; without them it is its `output` alone.
"""

from dataclasses import dataclass

from app.core.datasets.formats import Row
from app.core.datasets.tokens.templates import alpaca_prompt, chat_messages
from app.core.datasets.tokens.tokenizer import RowTokenizer


@dataclass(frozen=True)
class Rendered:
    prompt: str
    """Empty for a ready text."""
    answer: str
    """With the end of turn that a chat template writes."""
    unlike_prompt: bool = False
    """The rendered chat does not begin with the prompt that generation starts from."""

    @property
    def whole(self) -> str:
        return self.prompt + self.answer


def render(row: Row, template: str, tokenizer: RowTokenizer) -> Rendered:
    """Up to its last answer. Raises chat.TemplateFailed."""
    if template == "text":
        return Rendered("", row["text"])
    prompt = prompt_text(row, template, tokenizer)
    if template == "alpaca":
        return Rendered(prompt, row["output"])
    whole = tokenizer.render(whole_chat(row))
    if not whole.startswith(prompt):
        # The generation prompt opens a thought, say, that no answer has.
        return Rendered(prompt, row["output"], unlike_prompt=True)
    return Rendered(prompt, _closed(whole.removeprefix(prompt), row["output"]))


def _closed(answer: str, output: str) -> str:
    """Without the blanks that a template writes behind its end of turn: EOS comes next."""
    said = output.strip()
    end = answer.rpartition(said)[2] if said else ""
    return answer.rstrip() if end.strip() else answer


def prompt_text(row: Row, template: str, tokenizer: RowTokenizer) -> str:
    """What a model is given before it answers."""
    if template == "text":
        return row.get("text", row.get("instruction", ""))
    if template == "alpaca":
        return alpaca_prompt(row)
    return tokenizer.render(chat_messages(row), add_generation_prompt=True)


def whole_text(row: Row, template: str, tokenizer: RowTokenizer) -> str:
    """Prompt and answer, before any token is made of them."""
    return render(row, template, tokenizer).whole


def row_text(row: Row, template: str, train_on: str, tokenizer: RowTokenizer) -> str:
    """The text that is encoded: as far as the last answer that is trained."""
    answers = trained_answers(row) if train_on == "completion" and template != "text" else []
    return whole_text(up_to(row, answers[-1]) if answers else row, template, tokenizer)


def whole_chat(row: Row) -> list[dict[str, str]]:
    return [*chat_messages(row), {"role": "assistant", "content": row["output"]}]


def trained_answers(row: Row) -> list[int]:
    """Which answers are trained, counted from 0 through `history` to `output`."""
    last = len(row.get("history", []))
    return [at for at, weight in enumerate(row.get("weights", [0] * last + [1])) if weight]


def up_to(row: Row, answer: int) -> Row:
    """The row as if the conversation had ended with that answer."""
    history = row.get("history", [])
    if answer == len(history):
        return row
    ask, said = history[answer]
    cut: Row = {"instruction": ask, "output": said, "history": history[:answer]}
    if "system" in row:
        cut["system"] = row["system"]
    return cut
