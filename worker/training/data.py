"""Canonical rows into token ids and labels, each ending in EOS, and the held-out part set aside."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.core.datasets import encoding
from app.core.datasets.chat import TemplateFailed
from app.core.datasets.encoding import IGNORED, Example
from app.core.datasets.formats import Row
from app.core.datasets.rendering import prompt_text
from app.core.datasets.templates import is_named, needed_columns, optional_columns
from app.core.datasets.tokenizer import RowTokenizer
from app.core.jobs.run import Plan
from app.core.jobs.spec import JobSpec
from worker.training.failures import BadData, BadModel, BadRow, NoTrainedTokens
from worker.training.model import max_positions

_CHUNK = 1000
"""Rows tokenized at once, between two signs of getting on."""
_COMPARED = 64
"""Rows encoded twice, to see that a preview shows what is trained."""


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
    tokenizer_differs: bool = False
    """A preview, made from the model's files, shows other tokens."""


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
    counts.tokenizer_differs = differs_from_folder(rows, plan.spec, tokenizer, Path(plan.base.path))
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
    for column in needed_columns(template):
        if column not in row:
            have = ", ".join(sorted(row)) or "none"
            raise BadRow("column_missing", number, column, f"missing; the row has {have}")
        _check_text(row[column], number, column)
    for column in optional_columns(template):
        if column in row:
            _check_text(row[column], number, column)
    history = row.get("history", [])
    for turn in history if isinstance(history, list) else [None]:
        if not (
            isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn)
        ):
            raise BadRow("value_not_text", number, "history", "a turn is not two texts")
    weights = row.get("weights", [])
    if "weights" in row and not (
        isinstance(weights, list)
        and len(weights) == len(history) + 1
        and all(type(each) is int and each in (0, 1) for each in weights)
    ):
        raise BadRow("weights_invalid", number, "weights", "not a 0 or 1 for each answer")


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
    """Every row as a preview shows it; `sign` is called after each chunk."""
    rows_tokenizer = row_tokenizer(tokenizer)
    examples = []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        with _refusals(rows_tokenizer):
            examples += encoding.encode(chunk, spec.template, spec.train_on, rows_tokenizer)
        sign()
    counts.unlike_prompt += [each.row for each in examples if each.unlike_prompt]
    return examples


def prompt_texts(rows: Sequence[Row], template: str, tokenizer: Any) -> list[str]:
    """What a model is given before it answers."""
    rows_tokenizer = row_tokenizer(tokenizer)
    with _refusals(rows_tokenizer):
        return [prompt_text(row, template, rows_tokenizer) for row in rows]


def row_tokenizer(tokenizer: Any) -> RowTokenizer:
    """The very tokenizer that transformers loaded, as rows are encoded with it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BadModel("The tokenizer has no tokenizer.json and none can be made from its files.")
    return RowTokenizer.from_backend(
        backend,
        tokenizer.special_tokens_map,
        tokenizer.chat_template,
        split_special=bool(getattr(tokenizer, "split_special_tokens", False)),
    )


def differs_from_folder(
    rows: Sequence[tuple[int, Row]], spec: JobSpec, tokenizer: Any, folder: Path
) -> bool:
    """Whether the model's files, which previews read, give other tokens than transformers does."""
    try:
        shown = RowTokenizer.from_folder(folder)
    except (OSError, ValueError):
        return False  # no preview was possible either
    if is_named(spec.template):
        shown = shown.speaking(tokenizer.chat_template)
    few = rows[:_COMPARED]
    trained = encoding.encode(few, spec.template, spec.train_on, row_tokenizer(tokenizer))
    try:
        return encoding.encode(few, spec.template, spec.train_on, shown) != trained
    except (LookupError, ValueError):
        return True


@contextmanager
def _refusals(tokenizer: RowTokenizer) -> Iterator[None]:
    try:
        yield
    except TemplateFailed as error:
        hint = 'Use `template` "alpaca".'
        if not tokenizer.chat_template:
            raise BadModel("This model has no chat template.", hint=hint) from error
        message = "This model's chat template cannot render the rows."
        raise BadModel(message, evidence=str(error)[:2000], hint=hint) from error


def refuse_long_prompts(
    train: Sequence[Example], held_out: Sequence[Example], spec: JobSpec, maximum: int
) -> None:
    """Raise for a prompt beyond `max_length`, with a change that helps and the base can bear.

    `maximum`: the tokens its base can take.
    """
    limit = spec.training.max_length
    examples = [each for each in [*train, *held_out] if each.num_trained]
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
    column = needed_columns(spec.template)[0]
    raise BadRow("prompt_too_long", long.row, column, problem, hint, suggested_patch=patch)


def fit(examples: list[Example], spec: JobSpec, counts: Counts) -> list[Example]:
    """The examples that train something within `max_length`, still whole; counts the others."""
    limit = spec.training.max_length
    counts.rows += len(examples)
    kept = []
    for example in examples:
        if not example.num_trained or _prompt_size(example) >= limit:
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
