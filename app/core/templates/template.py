"""A template that a job can name, and the built-in ones."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from app.core.datasets.tokens.templates import NAMED, is_named, needed_columns
from app.core.errors import Problem
from app.core.jobs.protocol import FrozenTemplate

_FOLDER = Path(__file__).with_name("named")
_DESCRIPTIONS = {
    "alpaca": "Stanford Alpaca's prompts, with and without an input.",
    "chat": "The base model's own chat template.",
    "text": "No template: the column `text` as it is, all of it trained.",
    "chatml": "ChatML, as used by Qwen, Yi and OpenHermes.",
    "llama-2": "Llama 2 Chat: [INST] and <<SYS>>.",
    "llama-3": "Llama 3 Instruct: a header before each message, <|eot_id|> after it.",
    "vicuna": "Vicuna 1.1: USER and ASSISTANT on one line.",
    "zephyr": "Zephyr: <|user|> and <|assistant|> on separate lines.",
}
_SPECIAL_TOKENS = {
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "llama-3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
}
"""Marks that are single tokens in the models these come from; those of Zephyr are plain text."""


@dataclass(frozen=True)
class Template:
    name: str
    description: str
    text: str | None
    """Jinja over messages, as transformers renders it; None if there is none to show."""
    special_tokens: tuple[str, ...] = ()
    """Texts it writes that it expects to be single tokens."""
    is_custom: bool = False
    problems: tuple[Problem, ...] = ()
    """Why it cannot be used."""

    @property
    def needs(self) -> tuple[str, ...]:
        return needed_columns(self.name)

    @property
    def sha256(self) -> str | None:
        return None if self.text is None else sha256(self.text.encode()).hexdigest()

    @property
    def chat_template(self) -> str | None:
        """Replaces the base model's own chat template; None for `alpaca`, `chat` and `text`."""
        return self.text if is_named(self.name) else None

    def frozen(self) -> FrozenTemplate:
        return FrozenTemplate(
            name=self.name,
            text=self.text,
            sha256=self.sha256,
            special_tokens=list(self.special_tokens),
        )


@cache
def ours() -> dict[str, Template]:
    """Return the built-in templates by name, the plain ones first."""
    return {name: _ours(name) for name in ("alpaca", "chat", "text", *NAMED)}


def _ours(name: str) -> Template:
    path = _FOLDER / f"{name}.jinja"
    text = path.read_text(encoding="utf-8") if path.is_file() else None
    return Template(name, _DESCRIPTIONS[name], text, _SPECIAL_TOKENS.get(name, ()))
