"""Row lengths: histogram, percentiles, and what a `max_length` would cost."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.int64]
_PERCENTILES = (50, 90, 95, 99)
MAX_BINS = 50


class Measured(NamedTuple):
    """One number per row, in the order of the canonical rows."""

    characters: Sizes
    """Characters of the rendered text, prompt and answer."""
    tokens: Sizes
    """Tokens, with every special token and the final EOS."""
    prompt_tokens: Sizes
    """Tokens before the first trained one."""


def describe(measured: Measured, max_length: int) -> dict[str, Any]:
    """Return both distributions, and what a limit of `max_length` tokens does to the rows."""
    return {
        "num_rows": len(measured.tokens),
        "max_length": max_length,
        "characters": _distribution(measured.characters, max_length),
        "tokens": _distribution(measured.tokens, max_length),
        "cut": cut(measured, max_length),
        "split": split(measured, max_length),
    }


def cut(measured: Measured, max_length: int) -> dict[str, Any]:
    """Without packing: what exceeds `max_length` is lost, and the EOS with it."""
    fits = _fitting(measured, max_length)
    is_cut = fits & (measured.tokens > max_length)
    lost = int((measured.tokens[is_cut] - max_length).sum())
    return _loss(measured, fits, lost, rows=int(is_cut.sum()), eos_lost=int(is_cut.sum()))


def split(measured: Measured, max_length: int) -> dict[str, Any]:
    """With packing: a long row continues in another piece, whose first token has no context."""
    fits = _fitting(measured, max_length)
    is_split = fits & (measured.tokens > max_length)
    lost = int(((measured.tokens[is_split] - 1) // max_length).sum())
    return _loss(measured, fits, lost, rows=int(is_split.sum()), eos_lost=0)


def _fitting(measured: Measured, max_length: int) -> NDArray[np.bool_]:
    """Return which rows have a trained token: the first token of a row is never one."""
    prompts = measured.prompt_tokens
    return (prompts < max_length) & (measured.tokens > np.maximum(prompts, 1))


def _loss(
    measured: Measured, fits: NDArray[np.bool_], lost: int, *, rows: int, eos_lost: int
) -> dict[str, Any]:
    """Add up the losses. A row whose prompt alone fills `max_length` is dropped whole."""
    dropped = measured.tokens[~fits]
    return {
        "rows": rows,
        "dropped_rows": len(dropped),
        "eos_lost_rows": eos_lost,
        "tokens_lost": lost + int(dropped.sum()),
    }


def _distribution(sizes: Sizes, limit: int) -> dict[str, Any]:
    if not len(sizes):
        return {"total": 0, "over": 0, "share_over": 0.0, "histogram": {"edges": [], "counts": []}}
    over = int((sizes > limit).sum())
    # Nearest rank, as in the report: a percentile is the length of a row that exists.
    ranks = np.percentile(sizes, _PERCENTILES, method="inverted_cdf")
    return {
        "total": int(sizes.sum()),
        "min": int(sizes.min()),
        "max": int(sizes.max()),
        "mean": round(float(sizes.mean()), 2),
        **{f"p{share}": int(rank) for share, rank in zip(_PERCENTILES, ranks, strict=True)},
        "over": over,
        "share_over": over / len(sizes),
        "histogram": _histogram(sizes),
    }


def _histogram(sizes: Sizes) -> dict[str, list[int]]:
    """Return bins of one round width from 0; a bin includes its lower edge, not its upper one."""
    width = _round_up(-(-(int(sizes.max()) + 1) // MAX_BINS))
    counts = np.bincount(sizes // width)
    return {"edges": [width * at for at in range(len(counts) + 1)], "counts": counts.tolist()}


def _round_up(width: int) -> int:
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for step in (1, 2, 5):
            if step * power >= width:
                return step * power
        power *= 10
