"""Find earlier answers in the text of a chat, also where a template tells the past differently.

Some templates write a message one way while it is the last and another way once the chat goes on:
they move the EOS to the end, or drop earlier thoughts. So an answer is looked for in the text that
is trained, by a proof: only there does the text change when the message is replaced.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

from app.core.datasets.tokens.chat import CLOSE, OPEN, TemplateFailed

_PROBE = "\ufdd2"
"""Stands for the content of a message: a character that no text should contain."""

Message = Mapping[str, Any]


class Render(Protocol):
    """Renders messages. `marked`: with `chat.OPEN` and `chat.CLOSE` around what the template marks
    as generated."""

    def __call__(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = False,
        marked: bool = False,
    ) -> str: ...


@dataclass(frozen=True)
class Span:
    """Where an answer and its end of turn stand in a text: [start, end)."""

    start: int
    end: int
    follows_prompt: bool
    """The text before it begins with the prompt that the answer would be generated from."""


def find(
    text: str,
    messages: Sequence[Message],
    answers: Sequence[int],
    render: Render,
    begins: Sequence[str] = (),
    *,
    is_prompt: bool = True,
) -> list[Span | None]:
    """Return where each of these messages stands in `text`, or None where that is not known.

    `text`: the rendered `messages`, with the generation prompt if `is_prompt`. `answers`: indices
    of assistant messages, ascending. `begins`: what may stand before the first message, such as
    the BOS.
    """
    chat = _Chat(text, messages, render, begins, is_prompt)
    marks = chat.marks()
    spans: list[Span | None] = []
    end = 0
    for at in answers:
        try:
            span = chat.marked(at, *marks[at]) if at in marks else chat.searched(at)
        except TemplateFailed:  # it refuses a part of the chat, or a message in place of another
            span = None
        if span is not None and not end <= span.start < span.end:
            span = None
        spans.append(span)
        end = span.end if span else end
    return spans


@dataclass(frozen=True)
class _Chat:
    text: str
    messages: Sequence[Message]
    render: Render
    begins: Sequence[str]
    is_prompt: bool

    def marks(self) -> dict[int, tuple[int, int]]:
        """Return what `{% generation %}` marks, by message; {} unless each answer has one mark."""
        told = self.render(self.messages, add_generation_prompt=self.is_prompt, marked=True)
        first, *parts = told.split(OPEN)
        inside = [part.partition(CLOSE) for part in parts]
        answers = [at for at, each in enumerate(self.messages) if each["role"] == "assistant"]
        is_plain = len(inside) == len(answers) and all(close for _, close, _ in inside)
        if not is_plain or "".join([first, *(a + b for a, _, b in inside)]) != self.text:
            return {}
        found = {}
        place = len(first)
        for at, (body, _, rest) in zip(answers, inside, strict=True):
            if body.strip():
                found[at] = (place, place + len(body.rstrip()))
            place += len(body) + len(rest)
        return found

    def marked(self, at: int, start: int, end: int) -> Span | None:
        prompt = self._prompt(at)
        told = self.render(self.messages[: at + 1], marked=True).rpartition(CLOSE)[2]
        follows = prompt is not None and prompt < end
        start = max(start, prompt or 0)
        return Span(start, end + self._closing(at, end, told), follows) if start < end else None

    def searched(self, at: int) -> Span | None:
        """Return where a message stands, as the text tells it. Raises TemplateFailed."""
        prompt = self._prompt(at)
        through = self.render(self.messages[: at + 1]).rstrip()
        if prompt is not None and self.text.startswith(through) and prompt < len(through):
            return Span(prompt, len(through), follows_prompt=True)
        before, after = self._around(at)
        start, end = self._start(at, before), len(self.text) - len(after)
        if not self.text.endswith(after) or start >= end:
            return None
        follows = prompt is not None and prompt <= start
        start = prompt if prompt is not None and follows else start
        told = around(self.messages[: at + 1], at, self.render)[1]
        return Span(start, end + self._closing(at, end, told), follows)

    def _start(self, at: int, before: str) -> int:
        """Return where a message begins to differ from another; a call, from a text as well."""
        start = _shared(self.text, before)
        if "tool_calls" not in self.messages[at]:
            return start
        text = {"role": self.messages[at]["role"], "content": _PROBE}
        asked = [*self.messages[:at], text, *self.messages[at + 1 :]]
        try:
            told = self.render(asked, add_generation_prompt=self.is_prompt)
        except TemplateFailed:  # for example, a tool's answer must follow a call
            return start
        return min(start, _shared(self.text, told))

    def _around(self, at: int) -> tuple[str, str]:
        return around(self.messages, at, self.render, add_generation_prompt=self.is_prompt)

    def _prompt(self, at: int) -> int | None:
        """Return the length of an answer's prompt if the text begins with it."""
        prompt = self.render(self.messages[:at], add_generation_prompt=True)
        return len(prompt) if self.text.startswith(prompt) else None

    def _closing(self, at: int, end: int, told: str) -> int:
        """Return the length of the end of turn that follows an answer, without white space.

        `told`: what follows the answer where it is the last message. Text and `told` agree in the
        end of turn, and may agree a little longer, as `<|end|><|user|>` and `<|end|><|eos|>`.
        """
        shared = told[: _shared(self.text[end:], told)]
        if shared.rstrip() != told.rstrip():
            opening = self._opening(at + 1, end)
            if opening is None or not shared[:opening].strip():
                opening = max((at for at, each in enumerate(shared) if each.isspace()), default=0)
            shared = shared[:opening]
        return len(shared.rstrip())

    def _opening(self, at: int, end: int) -> int | None:
        """Return how far behind `end` the message of a user or tool begins; None if unknown.

        It begins with what precedes it where it is the only message.
        """
        if at >= len(self.messages) or self.messages[at]["role"] not in ("user", "tool"):
            return None
        try:
            before = self._around(at)[0]
            alone = around(self.messages[at : at + 1], 0, self.render)[0]
        except TemplateFailed:
            return None
        for token in self.begins:
            alone = alone.removeprefix(token)
        gap = before[end:]
        is_same = before.startswith(self.text[:end])
        return len(gap) - _shared(gap[::-1], alone[::-1]) if is_same else None


def around(
    messages: Sequence[Message], at: int, render: Render, *, add_generation_prompt: bool = False
) -> tuple[str, str]:
    """Return what is rendered before and after the content of a message. Raises TemplateFailed."""
    asked = [*messages[:at], _probed(messages[at]), *messages[at + 1 :]]
    told = render(asked, add_generation_prompt=add_generation_prompt)
    if told.count(_PROBE) != 1:
        raise TemplateFailed("The template leaves out a message, or writes it twice.")
    before, _, after = told.partition(_PROBE)
    return before, after


def _probed(message: Message) -> Message:
    """Return a message with the probe as its text or, if it calls tools, as the name of one."""
    if "tool_calls" not in message:
        return {"role": message["role"], "content": _PROBE}
    call, *more = message["tool_calls"]
    named = {**call, "function": {**call["function"], "name": _PROBE}}
    return {**message, "tool_calls": [named, *more]}


def _shared(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
