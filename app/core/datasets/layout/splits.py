"""Split rows into training and held-out rows: the same code for the trainer and the dry run.

Both pass encoded rows, the trainer with their tokens (`Example`), the dry run without (`Outline`).
What cannot be trained on raises a coded `RunFailed` here, before a model is loaded.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from app.core.datasets.layout import grouping, leaving_out
from app.core.datasets.layout.long_rows import CHOICES, LongRows, lost, usual
from app.core.datasets.layout.outline import Encoded, is_dropped
from app.core.jobs.failures import BadData, BadRow, NoTrainedTokens
from app.core.jobs.spec import JobSpec
from app.core.models.limits import Limits

T = TypeVar("T", bound=Encoded)


@dataclass
class Cost:
    """What is lost of the rows longer than `max_length`."""

    tokens: int = 0
    """Tokens that are not trained on."""
    trained_tokens: int = 0
    """Those of them that would have a label."""
    ends: int = 0
    """Rows that lose their EOS, but are trained on."""


@dataclass
class Counts:
    """What did not fit into `max_length`; always reported to the user."""

    rows: int = 0
    truncated: list[int] = field(default_factory=list)
    """0-based row numbers."""
    eos_lost: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    """Rows that would train nothing."""
    long_prompts: list[int] = field(default_factory=list)
    """Those of them whose prompt alone fills `max_length`."""
    keeping_length: int | None = None
    """The `max_length` that would keep them, if the base model takes it."""
    refused: list[int] = field(default_factory=list)
    """Rows that the chat template refuses."""
    refusal: str = ""
    """Why it refuses the first of them."""
    split: list[int] = field(default_factory=list)
    long: list[int] = field(default_factory=list)
    """Rows longer than `max_length` whose prompt fits."""
    costs: dict[LongRows, Cost] = field(default_factory=lambda: {each: Cost() for each in CHOICES})
    """What each `on_long_row` loses of them."""
    too_long: list[int] = field(default_factory=list)
    """Those of them that are left out."""
    tokens_lost: int = 0
    unlike_prompt: list[int] = field(default_factory=list)
    """Rows whose rendered chat does not begin with the prompt for generation."""
    hidden: dict[str, list[int]] = field(default_factory=dict)
    """Rows of which the template leaves something out, by what it is."""
    answers: int = 0
    """Answers to be trained."""
    answers_not_found: int = 0
    """Those of them that are not trained, because the template tells them otherwise."""
    not_found: list[int] = field(default_factory=list)
    """Rows with such answers."""


@dataclass(frozen=True)
class Splits(Generic[T]):
    train: list[T]
    held_out: list[T]
    counts: Counts
    """Counts of `train`, before rows are truncated or split: see `count_cut`."""
    held_counts: Counts


def lay_out(
    rows: list[T],
    held_out: list[T] | None,
    spec: JobSpec,
    limits: Limits,
    invalid: tuple[int, int] = (0, 0),
) -> Splits[T]:
    """Return the training and held-out rows that fit. If `held_out` is None, held-out rows are
    taken from `rows` as `spec` says. `invalid`: rows of either dataset left out before.

    Raises BadData, BadModel, BadRow or NoTrainedTokens for what cannot be trained on.
    """
    leaving_out.check(rows, held_out, spec, limits.positions, invalid)
    train, held_out = split(rows, spec) if held_out is None else (rows, held_out)
    counts = Counts(
        unlike_prompt=[each.row for each in train if each.unlike_prompt],
        answers=sum(each.num_answers for each in train),
        answers_not_found=sum(each.num_not_found for each in train),
        not_found=[each.row for each in train if each.num_not_found],
    )
    for each in train:
        for part in each.hidden if not each.refused else ():
            counts.hidden.setdefault(part, []).append(each.row)
    held_counts = Counts()
    counts.keeping_length = leaving_out.keeping_length(train, spec, limits.positions)
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


def fit(rows: Sequence[T], spec: JobSpec, counts: Counts) -> list[T]:
    """Return the rows with a trained token within `max_length`, untruncated; count the others."""
    limit = spec.training.max_length
    counts.rows += len(rows)
    kept = []
    for row in rows:
        if row.refused:
            counts.refused.append(row.row)
            counts.refusal = counts.refusal or row.refused
        elif is_dropped(row, limit):
            if row.num_trained:
                counts.long_prompts.append(row.row)
            counts.dropped.append(row.row)
            counts.tokens_lost += row.size
        elif row.size <= limit:
            kept.append(row)
        else:
            _add_costs(row, limit, counts)
            if spec.on_long_row == "drop":
                counts.too_long.append(row.row)
                counts.tokens_lost += row.size
            else:
                kept.append(row)
    return kept


def _add_costs(row: Encoded, limit: int, counts: Counts) -> None:
    counts.long.append(row.row)
    for choice, cost in counts.costs.items():
        left = grouping.parts_of(row, limit, choice)
        cost.tokens += lost(row.size, limit, choice)
        cost.trained_tokens += row.num_trained - sum(each.num_trained for each in left)
        cost.ends += choice == "truncate"


def count_cut(
    rows: Sequence[Encoded],
    limit: int,
    counts: Counts,
    *,
    packed: bool,
    long_rows: LongRows | None = None,
) -> None:
    """Count rows beyond `max_length`, which are split or truncated."""
    choice = long_rows or usual(packed=packed)
    for row in rows:
        if row.size <= limit:
            continue
        counts.tokens_lost += lost(row.size, limit, choice)
        if choice == "split":
            counts.split.append(row.row)
        else:
            counts.truncated.append(row.row)
            counts.eos_lost.append(row.row)


def check_vocabulary(rows: Sequence[Encoded], vocabulary: int) -> None:
    """Refuse ids outside the embedding, which would fail with an index error or a CUDA assert."""
    for row in rows:
        if row.highest_id >= vocabulary:
            problem = f"token id {row.highest_id} is outside the model's vocabulary of {vocabulary}"
            raise BadRow("token_outside_vocabulary", row.row, "", problem)
