"""Read one message of a conversation, in OpenAI's form (`role`) or ShareGPT's (`from`)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from app.core.datasets.checking.rows import Wrong, name_type
from app.core.datasets.checking.tool_calls import calls_of, check_json, read_calls
from app.core.datasets.formats import Message

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "function_call": "call",
    "tool_call": "call",
}
REASONING = ("reasoning_content", "thinking", "reasoning")
"""Keys of a message that hold what the assistant thinks before it answers."""
_WEIGHTS = ("weight", "train", "training")
"""Keys that tell whether a message is trained; the second and third are true or false."""
MASKS = frozenset(
    {
        *("loss", "loss_mask", "loss_weight", "loss_scale", "no_loss", "include_loss"),
        *("mask", "masked", "is_masked", "ignore", "ignored", "skip", "trainable", "do_train"),
        *("train_on", "train_on_turn", "train_detail", "training_detail", "is_trained"),
    }
)
"""Keys by which other tools leave messages, or parts of them, out of training."""
_TEXT_PARTS = (None, "text", "input_text", "output_text")


_ALSO_READ: Mapping[str, tuple[str, ...]] = {
    "system": (),
    "user": (),
    "assistant": ("tool_calls", "function_call", *REASONING),
    "tool": ("tool_call_id", "name"),
    "call": REASONING,
}


_SAME = (REASONING, ("tool_calls", "function_call"))
"""Names of the same thing: of several in a message the first is read."""


class Turn(NamedTuple):
    field: str
    role: str
    """`system`, `user`, `assistant` or `tool`."""
    text: str
    weight: int = 0
    calls: tuple[dict[str, Any], ...] = ()
    is_call: bool = False
    """Whether the turn is a call alone, which belongs to the assistant's turn before it."""
    names: tuple[tuple[str, str], ...] = ()
    """`tool_call_id` and `name` of a tool's answer, where given."""
    reasoning: str = ""
    unread: tuple[str, ...] = ()
    """Keys that have a value and are not read."""

    @property
    def message(self) -> Message:
        made: Message = {"role": self.role, "content": self.text, **dict(self.names)}
        if self.reasoning:
            made["reasoning_content"] = self.reasoning
        if self.calls:
            made["tool_calls"] = list(self.calls)
        if self.role == "assistant" and not self.weight:
            made["weight"] = 0
        return made


def read_turn(item: Any, field: str) -> Turn:
    """Read a message. Raises Wrong."""
    if not isinstance(item, dict):
        raise Wrong(field, "messages_invalid", f"A message is {name_type(item)}, not an object.")
    who, what = ("from", "value") if _is_sharegpt(item) else ("role", "content")
    role = _role(item.get(who), f"{field}/{who}")
    at = f"{field}/{what}"
    unread = tuple(_unread(item, role, {who, what}))
    reasoning = _reasoning(item, field) if role in ("assistant", "call") else ""
    weight = _weight(item, field, role)
    if role == "call":
        calls = tuple(read_calls(item.get(what), at))
        made = Turn(field, "assistant", "", weight, calls, True, reasoning=reasoning)
        return made._replace(unread=unread)
    calls = tuple(calls_of(item, field)) if role == "assistant" else ()
    return Turn(
        field,
        role,
        _text(item.get(what), at, role, may_lack=bool(calls)),
        weight,
        calls,
        names=_names(item) if role == "tool" else (),
        reasoning=reasoning,
        unread=unread,
    )


def _is_sharegpt(item: dict[str, Any]) -> bool:
    return item.get("from") is not None or ("from" in item and "role" not in item)


def _unread(item: dict[str, Any], role: str, read: set[str]) -> Iterator[str]:
    """Yield the keys that have a value and are not read."""
    first = {keys: next((key for key in keys if item.get(key)), "") for keys in _SAME}
    for key, value in item.items():
        if key in read or key in _WEIGHTS or value is None or value in ("", [], {}):
            continue
        same = next((first[keys] for keys in _SAME if key in keys), "")
        if key not in _ALSO_READ[role] or (same and item[same] != value):
            yield key


def join_calls(turns: list[Turn]) -> list[Turn]:
    """Put calls that are turns of their own into the assistant's message before them."""
    joined: list[Turn] = []
    for turn in turns:
        last = joined[-1] if joined else None
        if turn.is_call and last and last.role == "assistant":
            if turn.weight != last.weight:
                message = "A call and the answer before it are one message, of one weight."
                raise Wrong(turn.field, "weight_invalid", message)
            reasoning = "\n".join(filter(None, [last.reasoning, turn.reasoning]))
            joined[-1] = last._replace(calls=last.calls + turn.calls, reasoning=reasoning)
        else:
            joined.append(turn)
    return joined


def _role(given: Any, field: str) -> str:
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        shown = ascii(given)[:60] if isinstance(given, str) else name_type(given)
        raise Wrong(field, "role_unknown", f"The role of a message is {shown}.")
    return role


def _text(content: Any, field: str, role: str, *, may_lack: bool) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        return "".join(_part(part, f"{field}/{at}") for at, part in enumerate(content))
    if may_lack and not content:
        return ""
    if role == "tool" and isinstance(content, dict | int | float):
        check_json(content, field, "content_not_text")
        return json.dumps(content, ensure_ascii=False)
    message = f"The content of a message is {name_type(content)}."
    raise Wrong(field, "content_not_text", message)


def _part(part: Any, field: str) -> str:
    """Return the text of one part of a content that is a list."""
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get("text") if isinstance(part, dict) else None
    if kind in _TEXT_PARTS and isinstance(text, str):
        return text
    what = f"of type {ascii(kind)[:60]}" if isinstance(kind, str) else name_type(part)
    message = f"A part of a message has no text: it is {what}."
    raise Wrong(field, "content_not_text", message)


def _reasoning(item: dict[str, Any], field: str) -> str:
    key = next((name for name in REASONING if item.get(name)), None)
    if key is None:
        return ""
    if not isinstance(item[key], str):
        message = f"The reasoning of a message is {name_type(item[key])}, not a string."
        raise Wrong(f"{field}/{key}", "content_not_text", message)
    return str(item[key])


def _names(item: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    keys = ("tool_call_id", "name")
    return tuple((key, item[key]) for key in keys if isinstance(item.get(key), str))


def _weight(item: dict[str, Any], field: str, role: str) -> int:
    """Return 1 if the message is trained, else 0."""
    is_answer = role in ("assistant", "call")
    given = {key: item[key] for key in _WEIGHTS if item.get(key) is not None}
    for key, weight in given.items():
        _check_weight(key, weight, f"{field}/{key}", is_answer=is_answer)
    if len({int(weight) for weight in given.values()}) > 1:
        names = " and ".join(f"`{key}`" for key in given)
        raise Wrong(f"{field}/{[*given][-1]}", "weight_invalid", f"{names} contradict each other.")
    return int(is_answer and all(given.values()))


def _check_weight(key: str, weight: Any, field: str, *, is_answer: bool) -> None:
    flags: tuple[type, ...] = (int, float) if key == "weight" else (bool, int)
    if not is_answer and (key == "weight" or weight):
        raise Wrong(field, "weight_invalid", "Only an assistant message has a weight.")
    if type(weight) not in flags or weight not in (0, 1):
        values = "0 nor 1" if key == "weight" else "true nor false"
        what = "A weight" if key == "weight" else f"`{key}`"
        raise Wrong(field, "weight_invalid", f"{what} is neither {values}.")
