"""Conversations into canonical rows: OpenAI's `messages` and ShareGPT's `conversations`."""

from typing import Any

from app.core.datasets.formats import Row
from app.core.datasets.rows import Flaw, name_type

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
}


class _Wrong(Exception):
    """The first thing wrong in a conversation."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.flaw = Flaw(field, code, message)


def check_chat(value: dict[str, Any], key: str) -> tuple[Row | None, list[Flaw]]:
    """The canonical row, or None and the first thing that is wrong with the conversation."""
    try:
        return _read(value, key), []
    except _Wrong as wrong:
        return None, [wrong.flaw]


def _read(value: dict[str, Any], key: str) -> Row:
    if key not in value:
        raise _Wrong(key, "field_missing", f"`{key}` is missing.")
    messages = value[key]
    if not isinstance(messages, list) or not messages:
        what = "an empty list" if messages == [] else name_type(messages)
        raise _Wrong(key, "messages_invalid", f"`{key}` is {what}, not a list of messages.")
    read = [_turn(item, f"{key}/{at}") for at, item in enumerate(messages)]
    row: Row = {}
    system = read.pop(0)[1] if read[0][0] == "system" else _beside(value, key)
    shift = len(messages) - len(read)
    _check_order([role for role, _, _ in read], key, shift)
    for at, (role, text, _) in enumerate(read):
        if not text or text.isspace():
            code = "instruction_empty" if role == "user" else "output_empty"
            raise _Wrong(f"{key}/{at + shift}", code, f"The {role}'s message is empty.")
    _check_weights([weight for _, _, weight in read[1::2]], key)
    texts = [text for _, text, _ in read]
    row["instruction"], row["output"] = texts[-2:]
    if system:
        row["system"] = system
    if texts[:-2]:
        row["history"] = [texts[at : at + 2] for at in range(0, len(texts) - 2, 2)]
    return row


def _beside(value: dict[str, Any], key: str) -> str:
    """ShareGPT keeps a system text beside the conversation too."""
    system = value.get("system")
    if key != "conversations" or system is None:
        return ""
    if not isinstance(system, str):
        raise _Wrong("system", "field_type", f"`system` is {name_type(system)}, not a string.")
    return system


def _turn(item: Any, field: str) -> tuple[str, str, int]:
    """Role, text and weight of a message."""
    if not isinstance(item, dict):
        raise _Wrong(field, "messages_invalid", f"A message is {name_type(item)}, not an object.")
    who, what = ("from", "value") if "from" in item else ("role", "content")
    said = item.get(who)
    role = _ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        shown = ascii(said)[:60] if isinstance(said, str) else name_type(said)
        raise _Wrong(f"{field}/{who}", "role_unknown", f"The role of a message is {shown}.")
    for extra in ("tool_calls", "function_call"):
        if item.get(extra):
            raise _Wrong(f"{field}/{extra}", "content_not_text", "A message calls a tool.")
    return role, _text(item.get(what), f"{field}/{what}"), _weight(item, field, role)


def _text(content: Any, field: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        parts = [part.get("text") for part in content if _is_text(part)]
        if len(parts) == len(content):
            return "".join(map(str, parts))
    raise _Wrong(field, "content_not_text", f"The content of a message is {name_type(content)}.")


def _is_text(part: Any) -> bool:
    is_part = isinstance(part, dict) and part.get("type") == "text"
    return is_part and isinstance(part.get("text"), str)


def _weight(item: dict[str, Any], field: str, role: str) -> int:
    weight = item.get("weight")
    if weight is None:
        return int(role == "assistant")
    if role != "assistant":
        raise _Wrong(f"{field}/weight", "weight_invalid", "Only an assistant's message has one.")
    if type(weight) not in (int, float) or weight not in (0, 1):
        raise _Wrong(f"{field}/weight", "weight_invalid", "A weight is neither 0 nor 1.")
    return int(weight)


def _check_order(roles: list[str], key: str, shift: int) -> None:
    for at, role in enumerate(roles):
        wanted = ("user", "assistant")[at % 2]
        if role != wanted:
            message = f"The {wanted}'s turn, but the message is the {role}'s."
            raise _Wrong(f"{key}/{at + shift}", "roles_not_alternating", message)
    if len(roles) < 2 or roles[-1] != "assistant":
        raise _Wrong(key, "answer_missing", "The conversation does not end in an answer.")


def _check_weights(weights: list[int], key: str) -> None:
    if not any(weights):
        raise _Wrong(key, "nothing_trained", "Every answer has weight 0.")
    if any(weights[:-1]):
        message = "Only the last answer of a conversation can be trained."
        raise _Wrong(key, "weight_invalid", message)
