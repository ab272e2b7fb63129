"""Rows that a job leaves out or is refused for: the template refuses them, or their prompt fills
`max_length`. What is left out may be at most `max_skip_share` of a dataset's rows.
"""

import math
from collections.abc import Sequence
from typing import Any

from app.core.datasets.layout.outline import Encoded
from app.core.datasets.tokens.templates import CALLS, NO_TOOLS_HINT, needed_columns
from app.core.jobs.failures import BadData, BadModel, BadRow, RefusedRow, TooManySkipped
from app.core.jobs.spec import JobSpec

OTHER_TEMPLATE = 'Use `template` "alpaca".'


def check(
    rows: Sequence[Encoded],
    held_out: Sequence[Encoded] | None,
    spec: JobSpec,
    maximum: int,
    invalid: tuple[int, int] = (0, 0),
) -> None:
    """Raise BadModel, BadRow, RefusedRow or TooManySkipped for what a job may not leave out.

    `maximum`: tokens per sequence that the base model supports. `invalid`: how many rows of either
    dataset were left out as invalid.
    """
    parts = list(zip((rows, held_out or []), invalid, strict=True))
    for part, lacking in parts:
        check_refused(part, spec, lacking)
    for part, lacking in parts:
        refuse_long_prompts(part, spec, maximum, lacking, beside=(held_out or []))


def check_refused(rows: Sequence[Encoded], spec: JobSpec, invalid: int) -> None:
    refused = [each for each in rows if each.refused]
    if not refused:
        return
    first = refused[0]
    is_whole = len(refused) == len(rows)
    if is_whole and CALLS not in first.hidden:
        raise cannot_render(f"Row {first.row}: {first.refused}")
    total = len(rows) + invalid
    share = (len(refused) + invalid) / total
    if is_whole or spec.on_invalid_row == "error":
        patch = None if is_whole else {"on_invalid_row": "skip"} | _raised(share, spec)
        raise _refusal(first, len(refused), patch)
    if share > spec.max_skip_share:
        raise TooManySkipped(
            f"{len(refused) + invalid:,} of {total:,} rows ({share:.1%}) would be skipped: the "
            f"template refuses {len(refused):,} of them, first row {first.row} (counted from 0). "
            f"`max_skip_share` allows {spec.max_skip_share:.1%}.",
            evidence=first.refused[:2000],
            suggested_patch=_raised(share, spec),
        )


def _refusal(first: Encoded, count: int, patch: dict[str, Any] | None) -> BadData:
    """`first`: the first of the refused rows. `patch`: what leaves them out."""
    if CALLS in first.hidden:
        problem = (first.row, "messages", first.refused, NO_TOOLS_HINT)
        return BadRow("tool_calls_hidden", *problem, suggested_patch=patch)
    hint = f'Change the {_number(count)}, or set `on_invalid_row` to "skip".'
    return RefusedRow(first.row, first.refused, count, hint=hint, suggested_patch=patch)


def refuse_long_prompts(
    rows: Sequence[Encoded],
    spec: JobSpec,
    maximum: int,
    invalid: int = 0,
    *,
    beside: Sequence[Encoded] = (),
) -> None:
    """Raise BadRow if too many prompts fill `max_length`, with a change that works.

    `beside`: rows of another dataset, which the change must keep, too.
    """
    limit = spec.training.max_length
    long = [each for each in rows if is_long(each, limit)]
    left_out = len(long) + sum(1 for each in rows if each.refused) + invalid
    share = left_out / (len(rows) + invalid) if rows else 0
    is_allowed = spec.on_long_prompt == "drop" and share <= spec.max_skip_share
    worst = max(long, key=lambda each: each.prompt_size, default=None)
    if worst is None or is_allowed or (worst.prompt_size == limit and len(long) == len(rows)):
        return  # the last: no row has a token to train on, which is refused as that
    hint, patch = _suggestion([*rows, *beside], maximum)
    if patch is None and _leaves_some(rows, limit) and (not beside or _leaves_some(beside, limit)):
        patch = {"on_long_prompt": "drop"} if spec.on_long_prompt == "error" else {}
        patch |= _raised(share, spec)
        hint += " Or leave out the rows: see `on_long_prompt` and `max_skip_share`."
    first = next((each for each in long if each.prompt_size > limit), long[0])
    raise BadRow(
        "prompt_too_long",
        first.row,
        needed_columns(spec.template)[0],
        _problem(first, len(long), share, spec),
        hint,
        suggested_patch=patch,
    )


def is_long(row: Encoded, limit: int) -> bool:
    """Whether the prompt leaves no room for an answer that is to be trained."""
    return bool(row.num_trained) and row.prompt_size >= limit


def keeping_length(rows: Sequence[Encoded], spec: JobSpec, maximum: int) -> int | None:
    """Return the `max_length` that would keep the rows whose prompt is too long, in full if the
    base model takes that many tokens; None if it does not take the prompts.
    """
    long = [each for each in rows if is_long(each, spec.training.max_length)]
    if not long or max(each.prompt_size for each in long) >= maximum:
        return None
    return _rounded(max(each.size for each in long), maximum)


def cannot_render(reason: str) -> BadModel:
    message = "This model's chat template cannot render the rows."
    return BadModel(message, evidence=reason[:2000], hint=OTHER_TEMPLATE)


def _suggestion(rows: Sequence[Encoded], maximum: int) -> tuple[str, dict[str, Any] | None]:
    """Return what to do about prompts beyond `max_length`, and the change of the spec, if any."""
    rows = [each for each in rows if each.num_trained]
    longest = max(each.size for each in rows)
    if longest <= maximum:
        length = _rounded(longest, maximum)
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


def _problem(row: Encoded, count: int, share: float, spec: JobSpec) -> str:
    limit = spec.training.max_length
    size = f"the prompt takes {row.prompt_size} tokens, "
    size += f"{'more than' if row.prompt_size > limit else 'all of'} `max_length` {limit}"
    if spec.on_long_prompt == "error":
        return f"{size}, as {_number(count)} do" if count > 1 else size
    allowed = f"`max_skip_share` allows {spec.max_skip_share:.1%}"
    return f"{size}; without such rows {share:.1%} of the rows would be left out, {allowed}"


def _raised(share: float, spec: JobSpec) -> dict[str, Any]:
    """Return the change of `max_skip_share` that allows a share, if one is needed."""
    if share <= spec.max_skip_share:
        return {}
    return {"max_skip_share": min(1.0, math.ceil(share * 100) / 100)}


def _leaves_some(rows: Sequence[Encoded], limit: int) -> bool:
    return any(each.num_trained and each.prompt_size < limit for each in rows)


def _rounded(length: int, maximum: int) -> int:
    return min(-(-length // 64) * 64, maximum)


def _number(count: int) -> str:
    return f"{count:,} rows" if count > 1 else "row"
