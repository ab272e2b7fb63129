"""Convert conversations to canonical rows: OpenAI's `messages` and ShareGPT's `conversations`."""

from itertools import chain
from typing import Any

from app.core.datasets.checking import rows
from app.core.datasets.checking.messages import MASKS, Turn, join_calls, read_turn
from app.core.datasets.checking.rows import Flaw, Wrong, name_type, pointed, texts_of
from app.core.datasets.checking.tool_calls import tools_of
from app.core.datasets.formats import Row

_AS_TEXT = "Write the list itself; in a CSV cell, write it as JSON with `json.dumps`."


def check_chat(value: dict[str, Any], key: str) -> tuple[Row | None, list[Flaw]]:
    """Return the canonical row, or None and the first flaw of the conversation.

    Every answer is trained unless its weight is 0, as OpenAI's format defines it.
    """
    try:
        turns = [read_turn(*each) for each in _items(value, key)]
        return _row([*turns], value, key), _notes(turns)
    except Wrong as wrong:
        return None, [wrong.flaw]


def check_halves(value: dict[str, Any]) -> tuple[Row | None, list[Flaw]]:
    """Like `check_chat`, if `prompt` and `completion` are lists of messages; train the latter."""
    try:
        given = [read_turn(*each)._replace(weight=0) for each in _items(value, "prompt")]
        made = [read_turn(*each) for each in _items(value, "completion")]
        return _row([*given, *made], value, "completion"), _notes([*given, *made])
    except Wrong as wrong:
        return None, [wrong.flaw]


def find_bad_characters(value: dict[str, Any], key: str) -> list[Flaw]:
    """Find invalid characters in a conversation that is otherwise valid."""
    turns = [read_turn(*each) for each in _items(value, key)]
    found = [rows.find_bad(turn.field, text) for turn in turns for text in texts_of(turn.message)]
    tools = [rows.find_bad("tools", text) for text in texts_of(tools_of(value))]
    return list(chain(*found, rows.find_bad("system", value.get("system") or ""), *tools))


def _notes(turns: list[Turn]) -> list[Flaw]:
    """Return a flaw for each key that is not read; its message is the key's name."""
    return [
        Flaw(f"{turn.field}/{pointed(key)}", code, pointed(key))
        for turn in turns
        for key in turn.unread
        for code in ["message_mask_ignored" if key in MASKS else "message_key_ignored"]
    ]


def _items(value: dict[str, Any], key: str) -> list[tuple[Any, str]]:
    if key not in value:
        raise Wrong(key, "field_missing", f"`{key}` is missing.")
    messages = value[key]
    if not isinstance(messages, list) or not messages:
        what = "an empty list" if messages == [] else name_type(messages)
        hint = _AS_TEXT if isinstance(messages, str) else ""
        message = f"`{key}` is {what}, not a list of messages."
        raise Wrong(key, "messages_invalid", message, hint)
    return [(item, f"{key}/{at}") for at, item in enumerate(messages)]


def _row(turns: list[Turn], value: dict[str, Any], key: str) -> Row:
    tools = tools_of(value)
    system = _system(turns, value)
    turns = join_calls(turns)
    _check_order(turns, key)
    for turn in turns:
        if turn.role != "tool" and not turn.calls and not turn.text.strip():
            code = "instruction_empty" if turn.role == "user" else "output_empty"
            raise Wrong(turn.field, code, f"The {turn.role} message is empty.")
    if not any(turn.weight for turn in turns):
        raise Wrong(key, "nothing_trained", "Every answer has weight 0.")
    row = _with_calls(turns, system) if any(turn.calls for turn in turns) else _plain(turns, system)
    if "messages" not in row and any(turn.reasoning for turn in turns):
        row["reasoning"] = [turn.reasoning for turn in turns[1::2]]
    if tools:
        row["tools"] = tools
    return row


def _plain(turns: list[Turn], system: str) -> Row:
    weights = [turn.weight for turn in turns[1::2]]
    *earlier, ask, answer = [turn.text for turn in turns]
    row: Row = {"instruction": ask, "output": answer}
    if system:
        row["system"] = system
    if earlier:
        row["history"] = [earlier[at : at + 2] for at in range(0, len(earlier), 2)]
    if not rows.is_usual(weights):
        row["weights"] = weights
    return row


def _with_calls(turns: list[Turn], system: str) -> Row:
    first = [{"role": "system", "content": system}] if system else []
    return {"messages": [*first, *(turn.message for turn in turns)]}


def _system(turns: list[Turn], value: dict[str, Any]) -> str:
    """Return the system text: the first message, which is removed from `turns`, or the column."""
    beside = value.get("system")
    if not isinstance(beside, str | None):
        raise Wrong("system", "field_type", f"`system` is {name_type(beside)}, not a string.")
    if turns[0].role != "system":
        return beside or ""
    if beside:
        message = "The row has `system`, and its conversation begins with a system message."
        raise Wrong("system", "messages_invalid", message)
    return turns.pop(0).text


def _check_order(turns: list[Turn], key: str) -> None:
    before: Turn | None = None
    caller: Turn | None = None
    for turn in turns:
        if turn.role == "tool":
            _check_answer(turn, caller if before and before.role != "user" else None)
        else:
            expected = "user" if before is None or before.role == "assistant" else "assistant"
            if turn.role != expected:
                message = f"Expected a message of the {expected}, found one of the {turn.role}."
                raise Wrong(turn.field, "roles_not_alternating", message)
        before = turn
        if turn.role == "assistant":
            caller = turn
    if before is None or len(turns) < 2 or before.role != "assistant":
        raise Wrong(key, "answer_missing", "The conversation does not end with an answer.")


def _check_answer(turn: Turn, caller: Turn | None) -> None:
    """Check that a tool's answer follows a call, and the one that it names."""
    if caller is None or not caller.calls:
        raise Wrong(turn.field, "tool_answer_invalid", "A tool's answer follows no tool call.")
    known = [call.get("id") for call in caller.calls]
    wanted = dict(turn.names).get("tool_call_id")
    if wanted is not None and None not in known and wanted not in known:
        message = f"No call before it has the id {ascii(wanted)[:60]}."
        raise Wrong(f"{turn.field}/tool_call_id", "tool_answer_invalid", message)
