"""Convert conversations to canonical rows: OpenAI's `messages` and ShareGPT's `conversations`."""

from itertools import chain
from typing import Any, NamedTuple

from app.core.datasets.checking import rows
from app.core.datasets.checking.rows import Flaw, name_type
from app.core.datasets.formats import Row

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
}


_AS_TEXT = "Write the list itself; in a CSV cell, write it as JSON with `json.dumps`."


class _Wrong(Exception):
    """The first flaw of a conversation."""

    def __init__(self, field: str, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.flaw = Flaw(field, code, message, hint)


class _Turn(NamedTuple):
    field: str
    role: str
    text: str
    weight: int


def check_chat(value: dict[str, Any], key: str) -> tuple[Row | None, list[Flaw]]:
    """Return the canonical row, or None and the first flaw of the conversation.

    Every answer is trained unless its weight is 0, as OpenAI's format defines it.
    """
    try:
        return _row([_turn(*each) for each in _items(value, key)], value, key), []
    except _Wrong as wrong:
        return None, [wrong.flaw]


def check_halves(value: dict[str, Any]) -> tuple[Row | None, list[Flaw]]:
    """Like `check_chat`, if `prompt` and `completion` are lists of messages; train the latter."""
    try:
        given = [_turn(*each)._replace(weight=0) for each in _items(value, "prompt")]
        made = [_turn(*each) for each in _items(value, "completion")]
        return _row([*given, *made], value, "completion"), []
    except _Wrong as wrong:
        return None, [wrong.flaw]


def find_bad_characters(value: dict[str, Any], key: str) -> list[Flaw]:
    """Find invalid characters in a conversation that is otherwise valid."""
    turns = [_turn(*each) for each in _items(value, key)]
    found = [rows.find_bad(turn.field, turn.text) for turn in turns]
    return list(chain(*found, rows.find_bad("system", value.get("system") or "")))


def _items(value: dict[str, Any], key: str) -> list[tuple[Any, str]]:
    if key not in value:
        raise _Wrong(key, "field_missing", f"`{key}` is missing.")
    messages = value[key]
    if not isinstance(messages, list) or not messages:
        what = "an empty list" if messages == [] else name_type(messages)
        hint = _AS_TEXT if isinstance(messages, str) else ""
        message = f"`{key}` is {what}, not a list of messages."
        raise _Wrong(key, "messages_invalid", message, hint)
    return [(item, f"{key}/{at}") for at, item in enumerate(messages)]


def _row(turns: list[_Turn], value: dict[str, Any], key: str) -> Row:
    system = _system(turns, value)
    _check_order(turns, key)
    for turn in turns:
        if not turn.text or turn.text.isspace():
            code = "instruction_empty" if turn.role == "user" else "output_empty"
            raise _Wrong(turn.field, code, f"The {turn.role} message is empty.")
    weights = [turn.weight for turn in turns[1::2]]
    if not any(weights):
        raise _Wrong(key, "nothing_trained", "Every answer has weight 0.")
    *earlier, ask, answer = [turn.text for turn in turns]
    row: Row = {"instruction": ask, "output": answer}
    if system:
        row["system"] = system
    if earlier:
        row["history"] = [earlier[at : at + 2] for at in range(0, len(earlier), 2)]
    if not rows.is_usual(weights):
        row["weights"] = weights
    return row


def _system(turns: list[_Turn], value: dict[str, Any]) -> str:
    """Return the system text: the first message, which is removed from `turns`, or the column."""
    beside = value.get("system")
    if not isinstance(beside, str | None):
        raise _Wrong("system", "field_type", f"`system` is {name_type(beside)}, not a string.")
    if turns[0].role != "system":
        return beside or ""
    if beside:
        message = "The row has `system`, and its conversation begins with a system message."
        raise _Wrong("system", "messages_invalid", message)
    return turns.pop(0).text


def _turn(item: Any, field: str) -> _Turn:
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
            raise _Wrong(f"{field}/{extra}", "content_not_text", "A message contains a tool call.")
    text = _text(item.get(what), f"{field}/{what}")
    return _Turn(field, role, text, _weight(item, field, role))


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
        raise _Wrong(f"{field}/weight", "weight_invalid", "Only an assistant message has a weight.")
    if type(weight) not in (int, float) or weight not in (0, 1):
        raise _Wrong(f"{field}/weight", "weight_invalid", "A weight is neither 0 nor 1.")
    return int(weight)


def _check_order(turns: list[_Turn], key: str) -> None:
    for at, turn in enumerate(turns):
        expected = ("user", "assistant")[at % 2]
        if turn.role != expected:
            message = f"Expected a message of the {expected}, found one of the {turn.role}."
            raise _Wrong(turn.field, "roles_not_alternating", message)
    if len(turns) < 2 or turns[-1].role != "assistant":
        raise _Wrong(key, "answer_missing", "The conversation does not end with an answer.")
