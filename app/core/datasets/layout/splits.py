"""How rows become what is trained and what is held out: one code for the trainer and for a plan.

Both hand it encoded rows, the trainer with their tokens (`Example`), a plan without (`Outline`).
What cannot be trained raises a coded `RunFailed` here, before a model loads.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from app.core.datasets.layout.outline import Encoded, is_dropped
from app.core.datasets.tokens.templates import needed_columns
from app.core.jobs.failures import BadData, BadRow, NoTrainedTokens
from app.core.jobs.spec import JobSpec
from app.core.models.limits import Limits

T = TypeVar("T", bound=Encoded)


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
class Splits(Generic[T]):
    train: list[T]
    held_out: list[T]
    counts: Counts
    """Of `train`, before rows are cut or split: see `count_cut`."""
    held_counts: Counts


def lay_out(rows: list[T], held_out: list[T] | None, spec: JobSpec, limits: Limits) -> Splits[T]:
    """Training and held-out rows that fit; `held_out` None takes them from `rows`, as `spec` says.

    Raises BadData, BadRow or NoTrainedTokens for what cannot be trained on.
    """
    train, held_out = split(rows, spec) if held_out is None else (rows, held_out)
    refuse_long_prompts(train, held_out, spec, limits.positions)
    counts = Counts(unlike_prompt=[each.row for each in train if each.unlike_prompt])
    held_counts = Counts()
    fitting, held_fitting = fit(train, spec, counts), fit(held_out, spec, held_counts)
    if not any(each.num_trained for each in fitting):
        raise NoTrainedTokens("No row has a token to train on.")
    if held_out and not held_fitting:
        raise NoTrainedTokens("No held-out row has a token to measure.")
    check_vocabulary([*fitting, *held_fitting], limits.vocabulary)
    return Splits(fitting, held_fitting, counts, held_counts)


def split(rows: Sequence[Any], spec: JobSpec) -> tuple[list[Any], list[Any]]:
    """Rows to train on and rows held out: the same ones for the same rows, seed and share."""
    chosen = held_out_places(len(rows), spec)
    return (
        [row for at, row in enumerate(rows) if at not in chosen],
        [row for at, row in enumerate(rows) if at in chosen],
    )


def held_out_places(num_rows: int, spec: JobSpec) -> set[int]:
    share = spec.validation.fraction if spec.validation else None
    if share is None:
        return set()
    if num_rows < 2:
        raise BadData("One row cannot be split.", hint="Add rows or remove `validation`.")
    size = min(max(1, round(num_rows * share)), num_rows - 1)
    return set(random.Random(spec.training.seed).sample(range(num_rows), size))


def refuse_long_prompts(
    train: Sequence[Encoded], held_out: Sequence[Encoded], spec: JobSpec, maximum: int
) -> None:
    """Raise for a prompt beyond `max_length`, with a change that helps and the base can bear.

    `maximum`: the tokens its base can take.
    """
    limit = spec.training.max_length
    rows = [each for each in [*train, *held_out] if each.num_trained]
    long = next((each for each in rows if each.prompt_size > limit), None)
    if long is None or spec.on_invalid_row == "skip":
        return
    hint, patch = _way_out(rows, maximum)
    if patch is None and _leaves_some(train, limit) and _leaves_some(held_out, limit):
        patch = {"on_invalid_row": "skip"}
        hint += ' Or set `on_invalid_row` to "skip".'
    problem = f"the prompt takes {long.prompt_size} tokens, more than `max_length` {limit}"
    column = needed_columns(spec.template)[0]
    raise BadRow("prompt_too_long", long.row, column, problem, hint, suggested_patch=patch)


def _way_out(rows: Sequence[Encoded], maximum: int) -> tuple[str, dict[str, Any] | None]:
    """What to do about prompts beyond `max_length`, and as a change of the spec."""
    longest = max(each.size for each in rows)
    if longest <= maximum:
        length = min(-(-longest // 64) * 64, maximum)
        hint = f"The longest row takes {longest} tokens: raise `training.max_length` to {length}."
        return hint, {"training": {"max_length": length}}
    prompt = max(each.prompt_size for each in rows)
    if prompt < maximum:
        hint = (
            f"The longest prompt takes {prompt} tokens: raise `training.max_length` to {maximum}, "
            "all that this base takes; rows that are longer still are told."
        )
        return hint, {"training": {"max_length": maximum}}
    return f"Shorten the prompts: this base takes at most {maximum} tokens.", None


def _leaves_some(rows: Sequence[Encoded], limit: int) -> bool:
    return not rows or any(each.prompt_size < limit for each in rows)


def fit(rows: Sequence[T], spec: JobSpec, counts: Counts) -> list[T]:
    """The rows that train something within `max_length`, still whole; counts the others."""
    limit = spec.training.max_length
    counts.rows += len(rows)
    kept = []
    for row in rows:
        if is_dropped(row, limit):
            counts.dropped.append(row.row)
            counts.tokens_lost += row.size
        else:
            kept.append(row)
    return kept


def count_cut(rows: Sequence[Encoded], limit: int, counts: Counts, *, packed: bool) -> None:
    """Count what the layout does to rows beyond `max_length`: packed, they are split, else cut."""
    for row in rows:
        if row.size <= limit:
            continue
        if packed:
            counts.split.append(row.row)
            counts.tokens_lost += (row.size - 1) // limit  # a piece's first token has no context
        else:
            counts.truncated.append(row.row)
            counts.eos_lost.append(row.row)
            counts.tokens_lost += row.size - limit


def check_vocabulary(rows: Sequence[Encoded], vocabulary: int) -> None:
    """Refuse ids the embedding has no row for, which fail as an index error or a CUDA assert."""
    for row in rows:
        if row.highest_id >= vocabulary:
            problem = f"token id {row.highest_id} is outside the model's vocabulary of {vocabulary}"
            raise BadRow("token_outside_vocabulary", row.row, "", problem)
