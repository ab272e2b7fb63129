"""Prompt templates: how a row becomes the text before its answer, in trainer and preview alike."""

from app.core.datasets.formats import Row

NAMED = ("chatml", "llama-2", "llama-3", "vicuna", "zephyr")
"""Built-in templates that are Jinja over messages, in `app.core.templates`."""


def is_chat(template: str) -> bool:
    """Whether a template is Jinja over messages, which writes its special tokens itself."""
    return template not in ("alpaca", "text")


def is_named(template: str) -> bool:
    """Whether a template replaces the base model's own chat template."""
    return is_chat(template) and template != "chat"


def needed_columns(template: str) -> tuple[str, ...]:
    return ("text",) if template == "text" else ("instruction", "output")


def optional_columns(template: str) -> tuple[str, ...]:
    """Return the text columns that a row may also have."""
    return () if template == "text" else ("input", "system")


# The wording of github.com/tatsu-lab/stanford_alpaca: models trained on it expect it verbatim.
_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)


def alpaca_prompt(row: Row) -> str:
    """Return all before the answer: a system text, earlier turns oldest first, then the request."""
    earlier = [
        _alone({"instruction": ask}) + answer + "\n\n" for ask, answer in row.get("history", [])
    ]
    system = row.get("system", "")
    return (system + "\n\n" if system else "") + "".join(earlier) + _alone(row)


def chat_messages(row: Row) -> list[dict[str, str]]:
    """Return the prompt as messages for a chat template, the last one from the user."""
    messages = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    for ask, answer in row.get("history", []):
        messages += [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    return [*messages, {"role": "user", "content": _user_text(row)}]


def _alone(row: Row) -> str:
    # Split and joined, not formatted: braces in the data are data.
    head, tail = (_WITH_INPUT if row.get("input") else _WITHOUT_INPUT).split("{instruction}")
    before, _, after = tail.partition("{input}")
    return head + row["instruction"] + before + row.get("input", "") + after


def _user_text(row: Row) -> str:
    return f"{row['instruction']}\n\n{row['input']}" if row.get("input") else row["instruction"]
