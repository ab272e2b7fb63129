"""Encode canonical rows as token ids and labels: what the trainer uses and the preview shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from app.core.datasets.formats import Row
from app.core.datasets.tokens.chat import RowRefused, TemplateFailed
from app.core.datasets.tokens.framing import framed
from app.core.datasets.tokens.hidden import hidden_parts, refuse_calls
from app.core.datasets.tokens.labels import IGNORED, continued, labelled, without_end
from app.core.datasets.tokens.rendering import (
    Rendered,
    answer_places,
    prompt_text,
    render,
    render_chat,
    trained_answers,
    up_to,
    whole_chat,
)
from app.core.datasets.tokens.spans import Span, find
from app.core.datasets.tokens.templates import is_chat
from app.core.datasets.tokens.tokenizer import RowTokenizer

__all__ = ["IGNORED", "Example", "encode", "ended"]


@dataclass(frozen=True)
class Example:
    """One row as tokens; the label of a trained position is its token id."""

    input_ids: list[int]
    labels: list[int]
    row: int
    """0-based number in the rows file."""
    unlike_prompt: bool = False
    """The chat template does not render a prefix of a chat as a prefix of its text: an answer is
    trained after a prompt that the rendered chat does not have, or not trained at all."""
    refused: str = ""
    """Why the chat template refuses the row, which then has no tokens."""
    num_answers: int = 1
    """Answers of the row that are to be trained."""
    num_not_found: int = 0
    """Those of them that are not trained: the template tells them otherwise in the whole chat."""
    hidden: frozenset[str] = frozenset()
    """What the row has and its rendered text lacks: see `hidden.hidden_parts`."""

    @cached_property
    def num_trained(self) -> int:
        # The first token has no context to be predicted from.
        return len(self.labels[1:]) - self.labels[1:].count(IGNORED)

    @cached_property
    def prompt_size(self) -> int:
        """Tokens before the first trained one; all of them if none is trained."""
        labels = enumerate(self.labels)
        return next((at for at, label in labels if label != IGNORED), len(self.labels))

    @property
    def size(self) -> int:
        return len(self.input_ids)

    @property
    def highest_id(self) -> int:
        return max(self.input_ids, default=-1)

    def cut(self, start: int, end: int) -> "Example":
        return Example(self.input_ids[start:end], self.labels[start:end], self.row)


def encode(
    rows: Sequence[tuple[int, Row]], template: str, train_on: str, tokenizer: RowTokenizer
) -> list[Example]:
    """Encode numbered rows, untruncated. Each trained answer is ended by its end of turn, the last
    by EOS, and prompt ids are those that generation starts from.

    What follows the last trained answer is left out. With `train_on` "all", weights are ignored.
    Raises chat.RowRefused, and its subclass ToolsHidden if tool calls would not be trained.
    """
    refuse_calls(rows, template)
    examples = _encode(rows, template, train_on, tokenizer)
    hidden = [hidden_parts(*each, template, train_on, tokenizer) for each in rows]
    pairs = zip(examples, hidden, strict=True)
    return [replace(each, hidden=lacks) if lacks else each for each, lacks in pairs]


def _encode(
    rows: Sequence[tuple[int, Row]], template: str, train_on: str, tokenizer: RowTokenizer
) -> list[Example]:
    if train_on == "all" or template == "text":
        rendered = [_rendered(*each, template, tokenizer) for each in rows]
        return [_all_trained(each) for each in _encode_last(rows, rendered, template, tokenizer)]
    trained = [trained_answers(row) for _, row in rows]
    cut = [
        (number, up_to(row, answers[-1]) if answers else row)
        for (number, row), answers in zip(rows, trained, strict=True)
    ]
    rendered = [_rendered(*each, template, tokenizer) for each in cut]
    examples = _encode_last(cut, rendered, template, tokenizer)
    return [
        _with_earlier(example, row, text, answers, template, tokenizer)
        for example, (_, row), text, answers in zip(examples, cut, rendered, trained, strict=True)
    ]


def prompt_of(ids: list[int], template: str, tokenizer: RowTokenizer) -> list[int]:
    """Return the ids of a prompt without an EOS that the tokenizer added. One that a chat template
    writes stays: the answer comes after it.
    """
    return ids if is_chat(template) else without_end(ids, tokenizer)


def ended(ids: list[int], tokenizer: RowTokenizer, template: str) -> list[int]:
    """Return the ids with one EOS at the end. White space after an EOS that a chat template or a
    `text` row brings itself is removed.
    """
    eos = tokenizer.eos_id
    if ids[-1:] == [eos]:
        return ids
    if template != "alpaca" and eos in ids:
        size = len(ids) - ids[::-1].index(eos)
        if not tokenizer.decode(ids[size:]).strip():
            return ids[:size]
    return [*ids, eos]


def _encode_last(
    rows: Sequence[tuple[int, Row]],
    rendered: Sequence[Rendered],
    template: str,
    tokenizer: RowTokenizer,
) -> list[Example]:
    """Encode rows with the last answer trained; a `text` row is all answer."""
    whole = _ids([each.whole for each in rendered], template, tokenizer)
    heads = _ids([each.prompt for each in rendered], template, tokenizer)
    examples = []
    for (number, _), text, full, head in zip(rows, rendered, whole, heads, strict=True):
        start = prompt_of(head, template, tokenizer) if text.prompt else []
        ids = _joined(start, full, text.answer, template, tokenizer)
        labels = [IGNORED] * len(start) + ids[len(start) :]
        examples.append(Example(ids, labels, number, text.unlike_prompt))
    return examples


def _ids(texts: Sequence[str], template: str, tokenizer: RowTokenizer) -> list[list[int]]:
    if is_chat(template):  # it writes its special tokens itself
        return tokenizer.ids(texts, special=False)
    return framed(texts, tokenizer)


def _rendered(number: int, row: Row, template: str, tokenizer: RowTokenizer) -> Rendered:
    try:
        return render(row, template, tokenizer)
    except TemplateFailed as error:
        raise RowRefused(number, str(error)) from error


def _all_trained(example: Example) -> Example:
    return replace(example, labels=list(example.input_ids))


def _with_earlier(
    example: Example,
    row: Row,
    text: Rendered,
    answers: list[int],
    template: str,
    tokenizer: RowTokenizer,
) -> Example:
    """Also train the earlier answers of an example whose last answer is trained."""
    if not answers:
        return replace(example, labels=[IGNORED] * len(example.labels), num_answers=0)
    if len(answers) == 1:
        return example
    if is_chat(template):
        spans = _spans(row, text, answers[:-1], tokenizer)
    else:
        spans = [_plain_span(row, each, template, tokenizer) for each in answers[:-1]]
    found = [(span.start, span.end) for span in spans if span]
    ids, labels = _labelled(text, found, template, tokenizer)
    return replace(
        example,
        input_ids=ids,
        labels=labels,
        unlike_prompt=example.unlike_prompt or not all(s and s.follows_prompt for s in spans),
        num_answers=len(answers),
        num_not_found=len(spans) - len(found),
    )


def _spans(
    row: Row, text: Rendered, answers: list[int], tokenizer: RowTokenizer
) -> list[Span | None]:
    """Return where earlier answers stand in the text of a chat."""
    write = render_chat(tokenizer, row)
    messages = whole_chat(row)
    places = answer_places(messages)
    asked = [places[each] for each in answers]
    begins = list(tokenizer.special_tokens.values())
    if text.is_told:
        found = find(write(messages), messages, asked, write, begins, is_prompt=False)
        return [span if span and span.end <= len(text.prompt) else None for span in found]
    return find(text.prompt, messages[:-1], asked, write, begins)


def _plain_span(row: Row, answer: int, template: str, tokenizer: RowTokenizer) -> Span:
    """Return where an answer stands in a text whose every prompt is a prefix of it. No EOS follows
    it there: a prompt with earlier turns has none either.
    """
    part = up_to(row, answer)
    start = len(prompt_text(part, template, tokenizer))
    return Span(start, start + len(part["output"]), follows_prompt=True)


def _labelled(
    text: Rendered, earlier: list[tuple[int, int]], template: str, tokenizer: RowTokenizer
) -> tuple[list[int], list[int]]:
    """Return ids and labels where the last answer and earlier ones are trained."""

    def ids_of(texts: Sequence[str]) -> list[list[int]]:
        *heads, prompt, whole = _ids(texts, template, tokenizer)
        if not is_chat(template):
            whole = without_end(whole, tokenizer)
        return [*(prompt_of(each, template, tokenizer) for each in (*heads, prompt)), whole]

    parts = [*earlier, (len(text.prompt), len(text.whole))]
    ids, labels = labelled(text.whole, parts, ids_of, tokenizer)
    closed = ended(ids, tokenizer, template)
    return closed, (labels + closed[len(labels) :])[: len(closed)]


def _joined(
    start: list[int], full: list[int], answer: str, template: str, tokenizer: RowTokenizer
) -> list[int]:
    ids = ended(full, tokenizer, template)
    if ids[: len(start)] == start:
        return ids
    # A token spans the boundary. Generation will see the prompt's own tokens: train on those.
    return start + ended(continued(start, full, answer, tokenizer), tokenizer, template)
