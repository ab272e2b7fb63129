"""Canonical rows into token ids and labels, each ending in EOS, and the held-out part set aside."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.core.datasets.formats import Row
from app.core.datasets.templates import alpaca_prompt, chat_messages
from app.core.jobs.run import Plan
from app.core.jobs.spec import JobSpec
from worker.training.failures import BadData, BadModel, BadRow, NoTrainedTokens
from worker.training.model import max_positions
from worker.training.packing import IGNORED, Example

NEEDED = {
    "alpaca": ("instruction", "output"),
    "chat": ("instruction", "output"),
    "text": ("text",),
}
_CHUNK = 1000
"""Rows tokenized at once, between two signs of getting on."""
OPTIONAL = {"alpaca": ("input", "system"), "chat": ("input", "system"), "text": ()}


@dataclass
class Counts:
    """What did not fit into `max_length`; shown to the user, never silent."""

    rows: int = 0
    truncated: list[int] = field(default_factory=list)
    """Row numbers, from 0."""
    eos_lost: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    """Rows that would train nothing."""
    split: list[int] = field(default_factory=list)
    tokens_lost: int = 0
    unlike_prompt: list[int] = field(default_factory=list)
    """Rows whose rendered chat does not begin with the prompt that generation starts from."""


@dataclass(frozen=True)
class Splits:
    train: list[Example]
    held_out: list[Example]
    counts: Counts


def load_splits(plan: Plan, tokenizer: Any, sign: Callable[[], None] = lambda: None) -> Splits:
    """Training and held-out examples; refuses what cannot be trained on, before a model loads.

    `sign` is called after each chunk of rows.
    """
    counts = Counts()
    rows = read_rows(Path(plan.rows.path), plan.spec.template)
    if plan.validation_rows is not None:
        held_rows = read_rows(Path(plan.validation_rows.path), plan.spec.template)
    else:
        rows, held_rows = split(rows, plan.spec)
    not_told = Counts()
    train = encode(rows, plan.spec, tokenizer, counts, sign)
    held_out = encode(held_rows, plan.spec, tokenizer, not_told, sign)
    refuse_long_prompts(train, held_out, plan.spec, max_positions(plan, tokenizer))
    train, held_out = fit(train, plan.spec, counts), fit(held_out, plan.spec, not_told)
    if not any(each.num_trained for each in train):
        raise NoTrainedTokens("No row has a token to train on.")
    if held_rows and not held_out:
        raise NoTrainedTokens("No held-out row has a token to measure.")
    return Splits(train, held_out, counts)


def read_rows(path: Path, template: str) -> list[tuple[int, Row]]:
    """Numbered rows, each checked: by hand, nobody has validated them before."""
    rows = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadData(f"The rows cannot be read: {error.strerror}.") from error
    for number, line in enumerate(lines):
        try:
            row = json.loads(line.decode("utf-8"))
        except ValueError as error:
            raise BadRow("row_not_json", number, "", f"not JSON: {error}") from error
        check_row(row, number, template)
        rows.append((number, row))
    if not rows:
        raise BadData("The dataset has no rows.", hint="Upload at least one row.")
    return rows


def check_row(row: Any, number: int, template: str) -> None:
    if not isinstance(row, dict):
        raise BadRow("row_not_an_object", number, "", "the row is not a JSON object")
    for column in NEEDED[template]:
        if column not in row:
            have = ", ".join(sorted(row)) or "none"
            raise BadRow("column_missing", number, column, f"missing; the row has {have}")
        _check_text(row[column], number, column)
    for column in OPTIONAL[template]:
        if column in row:
            _check_text(row[column], number, column)
    history = row.get("history", [])
    for turn in history if isinstance(history, list) else [None]:
        if not (
            isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn)
        ):
            raise BadRow("value_not_text", number, "history", "a turn is not two texts")


def _check_text(value: Any, number: int, column: str) -> None:
    if not isinstance(value, str):
        raise BadRow("value_not_text", number, column, f"{type(value).__name__} instead of text")


def split(rows: list[tuple[int, Row]], spec: JobSpec) -> tuple[list[Any], list[Any]]:
    """Rows to train on and rows held out: the same ones for the same rows, seed and share."""
    share = spec.validation.fraction if spec.validation else None
    if share is None:
        return rows, []
    if len(rows) < 2:
        raise BadData("One row cannot be split.", hint="Add rows or remove `validation`.")
    size = min(max(1, round(len(rows) * share)), len(rows) - 1)
    chosen = set(random.Random(spec.training.seed).sample(range(len(rows)), size))
    return (
        [row for at, row in enumerate(rows) if at not in chosen],
        [row for at, row in enumerate(rows) if at in chosen],
    )


def encode(
    rows: Sequence[tuple[int, Row]],
    spec: JobSpec,
    tokenizer: Any,
    counts: Counts,
    sign: Callable[[], None] = lambda: None,
) -> list[Example]:
    """Every row whole, its answer ended by EOS; prompt ids are those generation will start from."""
    examples = []
    for start in range(0, len(rows), _CHUNK):
        examples += _encode(rows[start : start + _CHUNK], spec, tokenizer, counts)
        sign()
    return examples


def _encode(
    rows: Sequence[tuple[int, Row]], spec: JobSpec, tokenizer: Any, counts: Counts
) -> list[Example]:
    prompts, texts = _texts(rows, spec, tokenizer, counts)
    special = spec.template != "chat"  # a chat template writes its special tokens itself
    whole = tokenizer(texts, add_special_tokens=special)["input_ids"]
    heads = tokenizer(prompts, add_special_tokens=special)["input_ids"] if any(prompts) else []
    eos = tokenizer.eos_token_id
    examples = []
    for at, (number, _) in enumerate(rows):
        head = _without(heads[at], eos) if heads else []
        full = ended(whole[at], tokenizer, spec.template)
        if full[: len(head)] != head:
            # A token spans the border. Generation will see the prompt's own tokens: train on those.
            answer = texts[at].removeprefix(prompts[at])
            ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
            full = head + ended(ids, tokenizer, spec.template)
        masked = 0 if spec.train_on == "all" else len(head)
        examples.append(Example(full, [IGNORED] * masked + full[masked:], number))
    return examples


def prompt_texts(rows: Sequence[Row], template: str, tokenizer: Any) -> list[str]:
    """What a model is given before it answers."""
    if template == "text":
        return [row.get("text", row.get("instruction", "")) for row in rows]
    if template == "alpaca":
        return [alpaca_prompt(row) for row in rows]
    if not tokenizer.chat_template:
        raise BadModel("This model has no chat template.", hint='Use `template` "alpaca".')
    return [
        tokenizer.apply_chat_template(
            chat_messages(row), tokenize=False, add_generation_prompt=True
        )
        for row in rows
    ]


def ended(ids: list[int], tokenizer: Any, template: str) -> list[int]:
    """With one EOS at the end. What a chat template writes after its own, a newline, is cut."""
    eos = tokenizer.eos_token_id
    if ids[-1:] == [eos]:
        return ids
    if template == "chat" and eos in ids:
        size = len(ids) - ids[::-1].index(eos)
        if not tokenizer.decode(ids[size:]).strip():
            return ids[:size]
    return [*ids, eos]


def refuse_long_prompts(
    train: Sequence[Example], held_out: Sequence[Example], spec: JobSpec, maximum: int
) -> None:
    """Raise for a prompt beyond `max_length`, with a change that helps and the base can bear.

    `maximum`: the tokens its base can take.
    """
    limit = spec.training.max_length
    examples = [*train, *held_out]
    long = next((each for each in examples if _prompt_size(each) > limit), None)
    if long is None or spec.on_invalid_row == "skip":
        return
    longest = max(len(each.input_ids) for each in examples)
    leaves_some = all(
        any(_prompt_size(each) < limit for each in part) for part in (train, held_out) if part
    )
    patch: dict[str, Any] | None = None
    hint = f"Shorten the prompts: this base takes at most {maximum} tokens."
    if longest <= maximum:
        patch = {"training": {"max_length": min(-(-longest // 64) * 64, maximum)}}
        hint = f"The longest row takes {longest} tokens: raise `training.max_length`."
    elif leaves_some:
        patch = {"on_invalid_row": "skip"}
        hint += ' Or set `on_invalid_row` to "skip".'
    problem = f"the prompt takes {_prompt_size(long)} tokens, more than `max_length` {limit}"
    column = NEEDED[spec.template][0]
    raise BadRow("prompt_too_long", long.row, column, problem, hint, suggested_patch=patch)


def fit(examples: list[Example], spec: JobSpec, counts: Counts) -> list[Example]:
    """The examples that train something within `max_length`, still whole; counts the others."""
    limit = spec.training.max_length
    counts.rows += len(examples)
    kept = []
    for example in examples:
        if _prompt_size(example) >= limit:
            counts.dropped.append(example.row)
            counts.tokens_lost += len(example.input_ids)
        else:
            kept.append(example)
    return kept


def count_cut(examples: Sequence[Example], limit: int, counts: Counts, *, packed: bool) -> None:
    """Count what the layout does to rows beyond `max_length`: packed, they are split, else cut."""
    for example in examples:
        size = len(example.input_ids)
        if size <= limit:
            continue
        if packed:
            counts.split.append(example.row)
            counts.tokens_lost += (size - 1) // limit  # a piece's first token has no context
        else:
            counts.truncated.append(example.row)
            counts.eos_lost.append(example.row)
            counts.tokens_lost += size - limit


def _prompt_size(example: Example) -> int:
    labels = enumerate(example.labels)
    return next((at for at, label in labels if label != IGNORED), len(example.labels))


def _texts(
    rows: Sequence[tuple[int, Row]], spec: JobSpec, tokenizer: Any, counts: Counts
) -> tuple[list[str], list[str]]:
    """(prompts, prompts with their answers); a ready text has no prompt."""
    plain = [row for _, row in rows]
    if spec.template == "text":
        return [""] * len(plain), [row["text"] for row in plain]
    prompts = prompt_texts(plain, spec.template, tokenizer)
    if spec.template == "alpaca":
        answers = (row["output"] for row in plain)
        return prompts, [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    whole = []
    for (number, row), prompt in zip(rows, prompts, strict=True):
        messages = [*chat_messages(row), {"role": "assistant", "content": row["output"]}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        if not text.startswith(prompt):
            # The generation prompt opens a thought, say, that no answer has.
            counts.unlike_prompt.append(number)
            text = prompt + row["output"]
        whole.append(text)
    return prompts, whole


def _without(ids: list[int], eos: int) -> list[int]:
    """A tokenizer that ends every text with EOS would tell the model to answer after the end."""
    return ids[:-1] if ids and ids[-1] == eos else ids
