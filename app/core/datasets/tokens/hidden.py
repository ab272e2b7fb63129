"""Find what a row has and its rendered text lacks: chat templates drop what they do not know.

A part is replaced by a mark that no other text has, and the mark is looked for.
"""

from typing import Any

from app.core.datasets.formats import Message, Row
from app.core.datasets.tokens.chat import TemplateFailed
from app.core.datasets.tokens.rendering import (
    answer_places,
    trained_answers,
    up_to,
    whole_chat,
)
from app.core.datasets.tokens.templates import REASONING, TEXT_OF_CALL, TOOLS, is_chat
from app.core.datasets.tokens.tokenizer import RowTokenizer

_CALLS = "calls"
_FIRST_NUMBER = 918_273_000_000


class ToolsHidden(TemplateFailed):
    """The template leaves out tools, tool calls or tool answers of a row that calls tools."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"Row {row}: {reason}")
        self.row = row
        self.reason = reason


def hidden_parts(
    number: int, row: Row, template: str, train_on: str, tokenizer: RowTokenizer
) -> frozenset[str]:
    """Return what the template leaves out of a row that can be trained nevertheless.

    Raises ToolsHidden.
    """
    if not {"messages", "tools", "reasoning"} & row.keys():
        return frozenset()
    answers = trained_answers(row) if train_on == "completion" else []
    if not is_chat(template):
        if "messages" in row:
            raise ToolsHidden(number, f'template "{template}" cannot write tool calls')
        thoughts = row.get("reasoning", [])
        thinks = any(each for at, each in enumerate(thoughts) if at in answers or not answers)
        return frozenset({TOOLS} if "tools" in row else ()) | ({REASONING} if thinks else set())
    cut = up_to(row, answers[-1]) if answers else row
    return _lacking(number, cut, answers, tokenizer)


def _lacking(number: int, row: Row, answers: list[int], tokenizer: RowTokenizer) -> frozenset[str]:
    """`answers`: those that are trained; [] if the whole text is."""
    messages = whole_chat(row)
    places = answer_places(messages)
    trained = {places[at] for at in answers} or {*places}
    marks = _Marks()
    tools = [marks.tool(each) for each in row.get("tools", [])]
    messages = [marks.message(each, at in trained) for at, each in enumerate(messages)]
    try:
        lacking = marks.lacking(tokenizer.render(messages, tools=tools))
    except TemplateFailed as error:
        if "messages" not in row:
            raise
        raise ToolsHidden(number, f"the chat template cannot write it: {error}") from error
    refused = (_CALLS, TOOLS) if "messages" in row else (_CALLS,)
    for kind, what in lacking:
        if kind in refused:
            raise ToolsHidden(number, f"the chat template leaves out {what}")
    return frozenset(kind for kind, _ in lacking)


class _Marks:
    """Replaces parts of messages and tools by marks, and remembers what each stands for."""

    def __init__(self) -> None:
        self._made: list[tuple[str, str, str]] = []

    def tool(self, tool: dict[str, Any]) -> dict[str, Any]:
        name = self._mark(TOOLS, f"the tool {tool['function']['name']!r}")
        return {**tool, "function": {**tool["function"], "name": name}}

    def message(self, message: Message, is_trained: bool) -> Message:
        if is_trained and "reasoning_content" in message:
            thought = self._mark(REASONING, "the reasoning")
            message = {**message, "reasoning_content": thought, "thinking": thought}
        if message["role"] == "tool" and message["content"]:
            return {**message, "content": self._mark(_CALLS, "the answer of a tool")}
        if "tool_calls" not in message:
            return message
        marked = {**message, "tool_calls": [self._call(each) for each in message["tool_calls"]]}
        if message["content"]:
            marked["content"] = self._mark(TEXT_OF_CALL, "the text beside a tool call")
        return marked

    def lacking(self, text: str) -> list[tuple[str, str]]:
        """Return kind and description of what the text lacks."""
        return [(kind, what) for kind, what, mark in self._made if mark not in text]

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        function = call["function"]
        name = self._mark(_CALLS, f"the call of {function['name']!r}")
        what = f"an argument of the call of {function['name']!r}"
        arguments = self._argument(function["arguments"], what)
        return {**call, "function": {**function, "name": name, "arguments": arguments}}

    def _argument(self, value: Any, what: str) -> Any:
        if isinstance(value, dict):
            return {self._mark(_CALLS, what): self._argument(each, what) for each in value.values()}
        if isinstance(value, list):
            return [self._argument(each, what) for each in value]
        if isinstance(value, bool | None) or value == "":
            return value
        if isinstance(value, str):
            return self._mark(_CALLS, what)
        mark = _FIRST_NUMBER + len(self._made)
        self._made.append((_CALLS, what, str(mark)))
        return type(value)(mark)

    def _mark(self, kind: str, what: str) -> str:
        mark = f"zq{len(self._made)}qz"
        self._made.append((kind, what, mark))
        return mark
