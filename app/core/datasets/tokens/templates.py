"""Prompt templates: how a row becomes the text before its answer, in trainer and preview alike."""

from app.core.datasets.formats import Message, Row

NAMED = ("chatml", "llama-2", "llama-3", "vicuna", "zephyr")
"""Built-in templates that are Jinja over messages, in `app.core.templates`."""

TOOLS = "tools"
"""A part that a template may leave out: tools that a row without tool calls offers."""
TEXT_OF_CALL = "text_of_call"
"""A part that a template may leave out: the text of a message that also calls tools."""
CALLS = "calls"
"""A part that no template may leave out: tool calls and answers of tools, and their tools. A row
without them is refused."""
REASONING = "reasoning"
"""A part that a template may leave out: what the model thinks before a trained answer."""
NO_TOOLS_HINT = (
    'Use `template` "chat" with a base model whose chat template writes tools and tool calls, or '
    "remove the rows that have them."
)


def is_chat(template: str) -> bool:
    """Whether a template is Jinja over messages, which writes its special tokens itself."""
    return template not in ("alpaca", "text")


def is_named(template: str) -> bool:
    """Whether a template replaces the base model's own chat template."""
    return is_chat(template) and template != "chat"


def cannot_write_tools(template: str) -> bool:
    """Whether a template is known not to write tools; of others only their rendering tells."""
    return template in ("alpaca", "text", *NAMED)


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


def chat_messages(row: Row) -> list[Message]:
    """Return the prompt as messages for a chat template, without the last answer."""
    if "messages" in row:
        return [_shown(each) for each in row["messages"][:-1]]
    messages = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    for (ask, answer), thought in zip(row.get("history", []), _thoughts(row), strict=False):
        messages += [{"role": "user", "content": ask}, _answer(answer, thought)]
    return [*messages, {"role": "user", "content": _user_text(row)}]


def answer_message(row: Row) -> Message:
    """Return the last answer as a message for a chat template."""
    if "messages" in row:
        return _shown(row["messages"][-1])
    return _answer(row["output"], _thoughts(row)[-1])


def _thoughts(row: Row) -> list[str]:
    return row.get("reasoning") or [""] * (len(row.get("history", [])) + 1)


def _answer(text: str, thought: str) -> Message:
    return _shown({"role": "assistant", "content": text, "reasoning_content": thought})


def _shown(message: Message) -> Message:
    """Return a message as a template sees it: whether it is trained is not its matter.

    Templates know reasoning by one of two names: Qwen's and DeepSeek's, or that of gpt-oss.
    """
    shown = {key: value for key, value in message.items() if key != "weight"}
    if thought := shown.pop("reasoning_content", ""):
        shown |= {"reasoning_content": thought, "thinking": thought}
    return shown


def _alone(row: Row) -> str:
    # Split and joined, not formatted: braces in the data are data.
    head, tail = (_WITH_INPUT if row.get("input") else _WITHOUT_INPUT).split("{instruction}")
    before, _, after = tail.partition("{input}")
    return head + row["instruction"] + before + row.get("input", "") + after


def _user_text(row: Row) -> str:
    return f"{row['instruction']}\n\n{row['input']}" if row.get("input") else row["instruction"]
