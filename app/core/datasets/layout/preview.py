"""python -m app.core.datasets.layout.preview MODEL OUT < request

Show how the trainer will encode some rows. The first line of the request is `PreviewSettings` as
JSON, each further line a row's number, a tab and the canonical row. Runs as a sandboxed child.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers.decoders import DecodeStream

from app.core.datasets.layout import grouping
from app.core.datasets.layout.long_rows import LongRows, usual
from app.core.datasets.layout.outline import is_dropped
from app.core.datasets.tokens.chat import TemplateFailed
from app.core.datasets.tokens.encoding import IGNORED, Example, encode
from app.core.datasets.tokens.rendering import row_text
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.sandbox.child import refuse

_MOST_TOKENS = 50_000
"""Tokens listed in one response: about 50 MB of the API's memory."""
_MOST_PIECES = 1000
"""Pieces listed per row."""


@dataclass(frozen=True)
class PreviewSettings:
    template: str
    chat_template: str | None
    """Replaces the model's own."""
    special_tokens: Sequence[str]
    train_on: str
    max_length: int
    packing: bool
    on_long_row: LongRows | None = None
    """None: split with packing, truncate without."""


def preview(
    rows: Iterable[tuple[int, Any]], settings: PreviewSettings, tokenizer: RowTokenizer
) -> list[Any]:
    """Return one entry per row, as in the trainer's batch; fewer rows if they are long."""
    tokenizer = tokenizer.with_chat_template(settings.chat_template)
    shown: list[Any] = []
    size = 0
    for row in rows:
        (example,) = encode([row], settings.template, settings.train_on, tokenizer)
        text = row_text(row[1], settings.template, settings.train_on, tokenizer)
        shown.append(_entry(example, text, settings, tokenizer, _MOST_TOKENS - size))
        size += example.size
        if size >= _MOST_TOKENS:
            break
    return shown


def pieces_of(example: Example, settings: PreviewSettings) -> list[Example]:
    """Return the pieces of a row: as many as it takes, or one, truncated."""
    if choice_of(settings) == "split":
        return grouping.pieces(example, settings.max_length)
    return [grouping.cut_off(example, settings.max_length)]


def choice_of(settings: PreviewSettings) -> LongRows:
    return settings.on_long_row or usual(packed=settings.packing)


def trained_mask(piece: Example) -> list[bool]:
    """Return which tokens are trained; a piece's first token is not, as it has no context."""
    return [False, *(label != IGNORED for label in piece.labels[1:])]


def _entry(
    example: Example, text: str, settings: PreviewSettings, tokenizer: RowTokenizer, most: int
) -> dict[str, Any]:
    """Describe a row. `most`: how many of its tokens are listed; all are counted."""
    too_long = choice_of(settings) == "drop" and example.size > settings.max_length
    dropped = is_dropped(example, settings.max_length) or too_long
    pieces = pieces_of(example, settings)
    ids = [token for piece in pieces for token in piece.input_ids]
    mask = [not dropped and trained for piece in pieces for trained in trained_mask(piece)]
    cut = example.input_ids[len(ids) :]
    ends = ids[-1:] == [tokenizer.eos_id]
    return {
        "row": example.row,
        "text": text,
        "num_tokens": len(ids),
        "num_trained": sum(mask),
        "eos": {
            "present": ends,
            "trained": ends and mask[-1],
            "lost": not dropped and bool(cut),
        },
        "dropped": dropped,
        "truncated": {"num_tokens": len(cut), "text": tokenizer.decode(cut)} if cut else None,
        "pieces": [
            {"num_tokens": each.size, "num_trained": 0 if dropped else each.num_trained}
            for each in pieces[:_MOST_PIECES]
        ],
        "num_pieces": len(pieces),
        "unlike_prompt": example.unlike_prompt,
        "untrained_answers": example.num_not_found,
        "tokens": [
            {"id": token, "text": part, "trained": is_trained}
            for token, part, is_trained in zip(
                ids[:most], texts_of(ids[:most], tokenizer), mask[:most], strict=True
            )
        ],
    }


def texts_of(ids: Sequence[int], tokenizer: RowTokenizer) -> list[str]:
    """Return what each token adds to the text; a character of several tokens goes with the last."""
    stream = DecodeStream(skip_special_tokens=False)
    texts = [stream.step(tokenizer.core, token) or "" for token in ids]
    streamed = "".join(texts)
    whole = tokenizer.decode(ids)
    if texts and whole.startswith(streamed):
        texts[-1] += whole[len(streamed) :]  # part of a character, where a row is truncated
    return texts


def main(arguments: list[str]) -> int:
    model, out = map(Path, arguments)
    head, *lines = sys.stdin.buffer.read().splitlines()
    settings = PreviewSettings(**json.loads(head))
    numbered = (line.partition(b"\t") for line in lines)
    rows = [(int(number), json.loads(row)) for number, _, row in numbered]
    try:
        tokenizer = RowTokenizer.from_folder(model)
        tokenizer.eos_id  # noqa: B018
    except (KeyError, OSError, ValueError) as error:
        return refuse(f"The tokenizer of this model cannot be used: {error}")
    try:
        shown = preview(rows, settings, tokenizer)
    except TemplateFailed as error:
        return refuse(f"The template cannot render these rows: {error}")
    made = {"spelled_out": tokenizer.spelled_out(settings.special_tokens), "data": shown}
    out.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
