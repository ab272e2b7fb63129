"""Split rows into training and held-out rows: the same code for the trainer and the dry run.

Both pass encoded rows, the trainer with their tokens (`Example`), the dry run without (`Outline`).
What cannot be trained on raises a coded `RunFailed` here, before a model is loaded.
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
    """What did not fit into `max_length`; always reported to the user."""

    rows: int = 0
    truncated: list[int] = field(default_factory=list)
    """0-based row numbers."""
    eos_lost: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    """Rows that would train nothing."""
    split: list[int] = field(default_factory=list)
    tokens_lost: int = 0
    unlike_prompt: list[int] = field(default_factory=list)
    """Rows whose rendered chat does not begin with the prompt for generation."""
    hidden: dict[str, list[int]] = field(default_factory=dict)
    """Rows of which the template leaves something out, by what it is."""


@dataclass(frozen=True)
class Splits(Generic[T]):
    train: list[T]
    held_out: list[T]
    counts: Counts
    """Counts of `train`, before rows are truncated or split: see `count_cut`."""
    held_counts: Counts


def lay_out(rows: list[T], held_out: list[T] | None, spec: JobSpec, limits: Limits) -> Splits[T]:
    """Return the training and held-out rows that fit. If `held_out` is None, held-out rows are
    taken from `rows` as `spec` says.

    Raises BadData, BadRow or NoTrainedTokens for what cannot be trained on.
    """
    train, held_out = split(rows, spec) if held_out is None else (rows, held_out)
    refuse_long_prompts(train, held_out, spec, limits.positions)
    counts = Counts(unlike_prompt=[each.row for each in train if each.unlike_prompt])
    for each in train:
        for part in each.hidden:
            counts.hidden.setdefault(part, []).append(each.row)
    held_counts = Counts()
    fitting, held_fitting = fit(train, spec, counts), fit(held_out, spec, held_counts)
    if not any(each.num_trained for each in fitting):
        raise NoTrainedTokens("No row has a token to train on.")
    if held_out and not held_fitting:
        raise NoTrainedTokens("No held-out row has a token to evaluate.")
    check_vocabulary([*fitting, *held_fitting], limits.vocabulary)
    return Splits(fitting, held_fitting, counts, held_counts)


def split(rows: Sequence[Any], spec: JobSpec) -> tuple[list[Any], list[Any]]:
    """Return training and held-out rows; the same rows, seed and share give the same split."""
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
    """Raise BadRow for a prompt beyond `max_length`, with a change that the base model allows.

    `maximum`: tokens per sequence that the base model supports.
    """
    limit = spec.training.max_length
    rows = [each for each in [*train, *held_out] if each.num_trained]
    long = next((each for each in rows if each.prompt_size > limit), None)
    if long is None or spec.on_invalid_row == "skip":
        return
    hint, patch = _suggestion(rows, maximum)
    if patch is None and _leaves_some(train, limit) and _leaves_some(held_out, limit):
        patch = {"on_invalid_row": "skip"}
        hint += ' Or set `on_invalid_row` to "skip".'
    problem = f"the prompt takes {long.prompt_size} tokens, more than `max_length` {limit}"
    column = needed_columns(spec.template)[0]
    raise BadRow("prompt_too_long", long.row, column, problem, hint, suggested_patch=patch)


def _suggestion(rows: Sequence[Encoded], maximum: int) -> tuple[str, dict[str, Any] | None]:
    """Return what to do about prompts beyond `max_length`, and the change of the spec, if any."""
    longest = max(each.size for each in rows)
    if longest <= maximum:
        length = min(-(-longest // 64) * 64, maximum)
        hint = f"The longest row takes {longest} tokens: raise `training.max_length` to {length}."
        return hint, {"training": {"max_length": length}}
    prompt = max(each.prompt_size for each in rows)
    if prompt < maximum:
        hint = (
            f"The longest prompt takes {prompt} tokens: raise `training.max_length` to {maximum}, "
            "the most this base model supports; rows that are still longer are reported."
        )
        return hint, {"training": {"max_length": maximum}}
    return f"Shorten the prompts: this base model supports at most {maximum} tokens.", None


def _leaves_some(rows: Sequence[Encoded], limit: int) -> bool:
    return not rows or any(each.prompt_size < limit for each in rows)


def fit(rows: Sequence[T], spec: JobSpec, counts: Counts) -> list[T]:
    """Return the rows with a trained token within `max_length`, untruncated; count the others."""
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
    """Count rows beyond `max_length`: with packing they are split, else truncated."""
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
    """Refuse ids outside the embedding, which would fail with an index error or a CUDA assert."""
    for row in rows:
        if row.highest_id >= vocabulary:
            problem = f"token id {row.highest_id} is outside the model's vocabulary of {vocabulary}"
            raise BadRow("token_outside_vocabulary", row.row, "", problem)
