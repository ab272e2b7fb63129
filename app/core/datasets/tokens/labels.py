"""Token ids and labels of a text of which some parts are trained.

The ids before a trained part are those that generation starts from: the text up to there, encoded
alone. Where the text would be encoded otherwise, because a token spans the boundary, the part is
encoded apart, as a continuation.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from app.core.datasets.tokens.tokenizer import RowTokenizer

IGNORED = -100
"""Label of a position that is not trained."""
_CONTEXTS = ("\n", ":", ">", ".", "a")
"""Texts to encode a continuation after: most tokenizers treat the beginning of a text specially."""

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Encodes texts from their beginning, with the special tokens that belong there but no EOS."""


def labelled(
    text: str, parts: Sequence[tuple[int, int]], encode: Encode, tokenizer: RowTokenizer
) -> tuple[list[int], list[int]]:
    """Return ids and labels. `parts`: what is trained, [start, end) in the text, ascending.

    A token with the last letter of a part and what follows it counts as part of it.
    """
    stops = [*(start for start, _ in parts), len(text)]
    ids, *heads = encode([text[:stop] for stop in stops])
    labels = [IGNORED] * len(ids)
    starts = _starts(text, heads[-1], tokenizer)
    for (start, end), stop, head in zip(parts, stops[1:], heads, strict=True):
        is_prefix = head[: len(ids)] == ids
        more = continued(ids, head, text[start:stop], tokenizer)
        if end == stop:
            size = len(more)
        elif is_prefix and starts and heads[-1][: len(head)] == head:
            size = bisect_left(starts, end) - len(ids)
        elif is_prefix:
            size = len(more) - _after(text[:stop], end, tokenizer)
        else:
            size = len(more) - _after(text[start:stop], end - start, tokenizer)
        ids += more
        labels += more[:size] + [IGNORED] * (len(more) - size)
    return ids, labels


def _starts(text: str, ids: list[int], tokenizer: RowTokenizer) -> list[int]:
    """Return where in the text each token begins; [] if the ids are not those of the text."""
    bare = tokenizer.core.encode(text, add_special_tokens=False)
    added = len(ids) - len(bare.ids)  # a BOS begins before the text
    if added < 0 or ids[added:] != bare.ids:
        return []
    return [-1] * added + [start for start, _ in bare.offsets]


def continued(ids: list[int], whole: list[int], text: str, tokenizer: RowTokenizer) -> list[int]:
    """Return the ids of a text that continues `ids`. `whole`: both, encoded at once."""
    if whole[: len(ids)] == ids:
        return whole[len(ids) :]
    wanted = _said(whole, tokenizer)
    (alone,) = tokenizer.ids([text], special=False)
    if _said(ids + alone, tokenizer) == wanted:
        return alone
    for context in _CONTEXTS:
        before, both = tokenizer.ids([context, context + text], special=False)
        more = both[len(before) :]
        if both[: len(before)] == before and _said(ids + more, tokenizer) == wanted:
            return more
    return alone


def _said(ids: list[int], tokenizer: RowTokenizer) -> str:
    return tokenizer.decode(without_end(ids, tokenizer))


def without_end(ids: list[int], tokenizer: RowTokenizer) -> list[int]:
    """Remove a final EOS, which some tokenizers add: the model would learn to answer after it."""
    return ids[:-1] if ids[-1:] == [tokenizer.eos_id] else ids


def _after(text: str, end: int, tokenizer: RowTokenizer) -> int:
    """Return how many tokens begin behind a place of the text."""
    offsets = tokenizer.core.encode(text, add_special_tokens=False).offsets
    return sum(1 for start, _ in offsets if start >= end)
