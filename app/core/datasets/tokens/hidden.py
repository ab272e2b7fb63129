"""Find what a row has and its rendered text lacks: chat templates drop what they do not know.

A part is replaced by a mark that no other text has, and the mark is looked for.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from app.core.datasets.formats import Message, Row
from app.core.datasets.tokens.chat import RowRefused, TemplateFailed
from app.core.datasets.tokens.rendering import (
    answer_places,
    trained_answers,
    up_to,
    whole_chat,
)
from app.core.datasets.tokens.templates import CALLS, REASONING, TEXT_OF_CALL, TOOLS, is_chat
from app.core.datasets.tokens.tokenizer import RowTokenizer

_FIRST_NUMBER = 918_273_000_000


class ToolsHidden(RowRefused):
    """The template leaves out tools, tool calls or tool answers of a row that calls tools."""

    part = CALLS


def refuse_calls(rows: Sequence[tuple[int, Row]], template: str) -> None:
    """Raise ToolsHidden for the first row with tool calls if the template is no chat template."""
    if is_chat(template):
        return
    for number, row in rows:
        if "messages" in row:
            raise ToolsHidden(number, f'template "{template}" cannot write tool calls')


def hidden_parts(
    number: int, row: Row, template: str, train_on: str, tokenizer: RowTokenizer
) -> frozenset[str]:
    """Return what the template leaves out of a row that can be rendered and trained nevertheless.

    Raises ToolsHidden.
    """
    if not {"messages", "tools", "reasoning"} & row.keys():
        return frozenset()
    answers = trained_answers(row) if train_on == "completion" else []
    if not is_chat(template):
        thoughts = row.get("reasoning", [])
        thinks = any(each for at, each in enumerate(thoughts) if at in answers or not answers)
        return frozenset({TOOLS} if "tools" in row else ()) | ({REASONING} if thinks else set())
    lacking = _lacking(up_to(row, answers[-1]) if answers else row, answers, tokenizer)
    refused = (CALLS, TOOLS) if "messages" in row else (CALLS,)
    for part in lacking:
        if part.kind in refused:
            raise ToolsHidden(number, f"the chat template leaves out {part.what}")
    return frozenset(part.kind for part in lacking)


class _Part(NamedTuple):
    kind: str
    what: str
    """Description for a person."""
    mark: str
    text: str
    """What the mark stands for."""


def _lacking(row: Row, answers: list[int], tokenizer: RowTokenizer) -> list[_Part]:
    """`answers`: those that are trained; [] if the whole text is."""
    messages, tools = whole_chat(row), row.get("tools", [])
    places = answer_places(messages)
    trained = {places[at] for at in answers} or {*places}
    marks = _Marks()
    marked_tools = [marks.tool(each) for each in tools]
    marked = [marks.message(each, at in trained) for at, each in enumerate(messages)]
    try:
        text = tokenizer.render(marked, tools=marked_tools)
    except TemplateFailed:
        # It accepts the row itself, but not every name or argument: look for those of the row.
        text = tokenizer.render(messages, tools=tools)
        return [part for part in marks.parts if not _is_in(text, part.text)]
    return [part for part in marks.parts if part.mark not in text]


def _is_in(text: str, part: str) -> bool:
    return any(each in text for each in (part, json.dumps(part)[1:-1], _dumps(part)[1:-1]))


_dumps = json.JSONEncoder(ensure_ascii=False).encode


class _Marks:
    """Replaces parts of messages and tools by marks, and remembers what each stands for."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []

    def tool(self, tool: dict[str, Any]) -> dict[str, Any]:
        name = tool["function"]["name"]
        mark = self._mark(TOOLS, f"the tool {name!r}", name)
        return {**tool, "function": {**tool["function"], "name": mark}}

    def message(self, message: Message, is_trained: bool) -> Message:
        if is_trained and "reasoning_content" in message:
            thought = self._mark(REASONING, "the reasoning", message["reasoning_content"])
            message = {**message, "reasoning_content": thought, "thinking": thought}
        content = message["content"]
        if message["role"] == "tool" and content:
            return {**message, "content": self._mark(CALLS, "the answer of a tool", content)}
        if "tool_calls" not in message:
            return message
        marked = {**message, "tool_calls": [self._call(each) for each in message["tool_calls"]]}
        if content:
            marked["content"] = self._mark(TEXT_OF_CALL, "the text beside a tool call", content)
        return marked

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        function = call["function"]
        name = function["name"]
        mark = self._mark(CALLS, f"the call of {name!r}", name)
        arguments = self._argument(function["arguments"], f"an argument of the call of {name!r}")
        return {**call, "function": {**function, "name": mark, "arguments": arguments}}

    def _argument(self, value: Any, what: str) -> Any:
        if isinstance(value, dict):
            return {
                self._mark(CALLS, what, key): self._argument(each, what)
                for key, each in value.items()
            }
        if isinstance(value, list):
            return [self._argument(each, what) for each in value]
        if isinstance(value, bool | None) or value == "":
            return value
        if isinstance(value, str):
            return self._mark(CALLS, what, value)
        number = _FIRST_NUMBER + len(self.parts)
        self.parts.append(_Part(CALLS, what, str(number), str(value)))
        return type(value)(number)

    def _mark(self, kind: str, what: str, text: str) -> str:
        mark = f"zq{len(self.parts)}qz"
        self.parts.append(_Part(kind, what, mark, text))
        return mark
