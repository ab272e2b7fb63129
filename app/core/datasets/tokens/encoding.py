"""Encode canonical rows as token ids and labels: what the trainer uses and the preview shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile

from app.core.datasets.formats import Row
from app.core.datasets.tokens.chat import TemplateFailed
from app.core.datasets.tokens.hidden import hidden_parts, refuse_calls
from app.core.datasets.tokens.rendering import (
    Rendered,
    answer_places,
    prompt_text,
    render,
    trained_answers,
    up_to,
    whole_chat,
)
from app.core.datasets.tokens.templates import is_chat
from app.core.datasets.tokens.tokenizer import RowTokenizer

IGNORED = -100
"""Label of a position that is not trained."""


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
        return max(self.input_ids)

    def cut(self, start: int, end: int) -> "Example":
        return Example(self.input_ids[start:end], self.labels[start:end], self.row)


def encode(
    rows: Sequence[tuple[int, Row]], template: str, train_on: str, tokenizer: RowTokenizer
) -> list[Example]:
    """Encode numbered rows, untruncated. Each trained answer is ended by EOS or its end of turn,
    and prompt ids are those that generation starts from.

    What follows the last trained answer is left out. With `train_on` "all", weights are ignored.
    Raises chat.TemplateFailed, and its subclass ToolsHidden if tool calls would not be trained.
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
        return [_all_trained(each) for each in _encode_last(rows, template, tokenizer)]
    trained = [trained_answers(row) for _, row in rows]
    cut = [
        (number, up_to(row, answers[-1]) if answers else row)
        for (number, row), answers in zip(rows, trained, strict=True)
    ]
    return [
        _with_earlier(example, row, answers, template, tokenizer)
        for example, (_, row), answers in zip(
            _encode_last(cut, template, tokenizer), cut, trained, strict=True
        )
    ]


def ended(ids: list[int], tokenizer: RowTokenizer, template: str) -> list[int]:
    """Return the ids with one EOS at the end. White space that a chat template writes after its
    own EOS is removed.
    """
    eos = tokenizer.eos_id
    if ids[-1:] == [eos]:
        return ids
    if is_chat(template) and eos in ids:
        size = len(ids) - ids[::-1].index(eos)
        if not tokenizer.decode(ids[size:]).strip():
            return ids[:size]
    return [*ids, eos]


def _encode_last(
    rows: Sequence[tuple[int, Row]], template: str, tokenizer: RowTokenizer
) -> list[Example]:
    """Encode rows with the last answer trained; a `text` row is all answer."""
    rendered = [_rendered(number, row, template, tokenizer) for number, row in rows]
    special = not is_chat(template)  # a chat template writes its special tokens itself
    whole = tokenizer.ids([each.whole for each in rendered], special=special)
    heads = tokenizer.ids([each.prompt for each in rendered], special=special)
    examples = []
    for (number, _), text, full, head in zip(rows, rendered, whole, heads, strict=True):
        start = _without_end(head, tokenizer) if text.prompt else []
        ids = _joined(start, full, text.answer, template, tokenizer)
        labels = [IGNORED] * len(start) + ids[len(start) :]
        examples.append(Example(ids, labels, number, text.unlike_prompt))
    return examples


def _rendered(number: int, row: Row, template: str, tokenizer: RowTokenizer) -> Rendered:
    try:
        return render(row, template, tokenizer)
    except TemplateFailed as error:
        raise TemplateFailed(f"Row {number}: {error}") from error


def _all_trained(example: Example) -> Example:
    return replace(example, labels=list(example.input_ids))


def _with_earlier(
    example: Example, row: Row, answers: list[int], template: str, tokenizer: RowTokenizer
) -> Example:
    """Also train the earlier answers of an example whose last answer is trained."""
    if not answers:
        return replace(example, labels=[IGNORED] * len(example.labels))
    if len(answers) == 1:
        return example
    if not is_chat(template):
        return _ended_answers(example.row, row, answers, template, tokenizer)
    labels = list(example.labels)
    for answer in answers[:-1]:
        span = _turn(example.input_ids, row, answer, tokenizer)
        if span is None:
            return replace(example, unlike_prompt=True)
        labels[span] = example.input_ids[span]
    return replace(example, labels=labels)


def _turn(ids: list[int], row: Row, answer: int, tokenizer: RowTokenizer) -> slice | None:
    """Return the positions of an answer and its end of turn; None if the text of the chat up to
    the answer is not a prefix of its whole text.
    """
    messages, tools = whole_chat(row), row.get("tools")
    place = answer_places(messages)[answer]
    start = tokenizer.render(messages[:place], tools=tools, add_generation_prompt=True)
    end = tokenizer.render(messages[: place + 1], tools=tools).rstrip()
    whole = tokenizer.render(messages, tools=tools)
    if not (end.startswith(start) and whole.startswith(end)):
        return None
    before, through = tokenizer.ids([start, end], special=False)
    size = len(before)
    if ids[:size] != before:
        return None
    pairs = zip(through, ids, strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    if shared < size:
        return None
    # A token with the answer's last letter and what follows it counts as part of the answer.
    return slice(size, shared if shared == len(through) else shared + 1)


def _ended_answers(
    number: int, row: Row, answers: list[int], template: str, tokenizer: RowTokenizer
) -> Example:
    """Encode each trained answer with an EOS after it, which the text itself does not contain."""
    ids: list[int] = []
    labels: list[int] = []
    encoded = ""
    for answer in answers:
        part = up_to(row, answer)
        prompt = prompt_text(part, template, tokenizer)
        context = prompt.removeprefix(encoded)
        texts = [context + part["output"], context]
        full, head = tokenizer.ids(texts, special=not ids)
        start = _without_end(head, tokenizer)
        joined = _joined(start, full, part["output"], template, tokenizer)
        ids += joined
        labels += [IGNORED] * len(start) + joined[len(start) :]
        encoded = prompt + part["output"]
    return Example(ids, labels, number)


def _joined(
    start: list[int], full: list[int], answer: str, template: str, tokenizer: RowTokenizer
) -> list[int]:
    ids = ended(full, tokenizer, template)
    if ids[: len(start)] == start:
        return ids
    # A token spans the boundary. Generation will see the prompt's own tokens: train on those.
    (alone,) = tokenizer.ids([answer], special=False)
    return start + ended(alone, tokenizer, template)


def _without_end(ids: list[int], tokenizer: RowTokenizer) -> list[int]:
    """Remove a final EOS, which some tokenizers add: the model would learn to answer after it."""
    return ids[:-1] if ids[-1:] == [tokenizer.eos_id] else ids
