"""python -m app.core.datasets.layout.preview MODEL OUT < request

What the trainer will make of some rows: the first line of the request is
`PreviewSettings` as JSON, each other one a row's number, a tab and the canonical row. `child`
starts it.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers.decoders import DecodeStream

from app.core.datasets.layout import grouping
from app.core.datasets.layout.outline import is_dropped
from app.core.datasets.tokens.chat import TemplateFailed
from app.core.datasets.tokens.encoding import IGNORED, Example, encode
from app.core.datasets.tokens.rendering import row_text
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.sandbox.child import refuse

_MOST_TOKENS = 50_000
"""Listed in one answer, some 50 MB of the API's memory."""
_MOST_PIECES = 1000
"""Listed of one row."""


@dataclass(frozen=True)
class PreviewSettings:
    template: str
    chat_template: str | None
    """Takes the place of the model's own."""
    special_tokens: Sequence[str]
    train_on: str
    max_length: int
    packing: bool


def preview(
    rows: Iterable[tuple[int, Any]], asked: PreviewSettings, tokenizer: RowTokenizer
) -> list[Any]:
    """One entry per row, as the trainer's batch has it; fewer where they are long."""
    tokenizer = tokenizer.speaking(asked.chat_template)
    shown: list[Any] = []
    size = 0
    for row in rows:
        (example,) = encode([row], asked.template, asked.train_on, tokenizer)
        text = row_text(row[1], asked.template, asked.train_on, tokenizer)
        shown.append(_entry(example, text, asked, tokenizer, _MOST_TOKENS - size))
        size += example.size
        if size >= _MOST_TOKENS:
            break
    return shown


def pieces_of(example: Example, asked: PreviewSettings) -> list[Example]:
    """What becomes of a row: packed, as many pieces as it takes, else one that is cut."""
    if asked.packing:
        return grouping.pieces(example, asked.max_length)
    return [grouping.cut_off(example, asked.max_length)]


def trained_mask(piece: Example) -> list[bool]:
    """Nothing stands before a piece's first token, to predict it from."""
    return [False, *(label != IGNORED for label in piece.labels[1:])]


def _entry(
    example: Example, text: str, asked: PreviewSettings, tokenizer: RowTokenizer, most: int
) -> dict[str, Any]:
    """`most`: how many of its tokens are listed; all are counted."""
    dropped = is_dropped(example, asked.max_length)
    pieces = pieces_of(example, asked)
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
        "tokens": [
            {"id": token, "text": part, "trained": is_trained}
            for token, part, is_trained in zip(
                ids[:most], texts_of(ids[:most], tokenizer), mask[:most], strict=True
            )
        ],
    }


def texts_of(ids: Sequence[int], tokenizer: RowTokenizer) -> list[str]:
    """What each token adds to the text: a character of several tokens stands with its last."""
    stream = DecodeStream(skip_special_tokens=False)
    texts = [stream.step(tokenizer.core, token) or "" for token in ids]
    told = "".join(texts)
    whole = tokenizer.decode(ids)
    if texts and whole.startswith(told):
        texts[-1] += whole[len(told) :]  # half a character, where a row is cut
    return texts


def main(arguments: list[str]) -> int:
    model, out = map(Path, arguments)
    head, *lines = sys.stdin.buffer.read().splitlines()
    asked = PreviewSettings(**json.loads(head))
    numbered = (line.partition(b"\t") for line in lines)
    rows = [(int(number), json.loads(row)) for number, _, row in numbered]
    try:
        tokenizer = RowTokenizer.from_folder(model)
        tokenizer.eos_id  # noqa: B018
    except (KeyError, OSError, ValueError) as error:
        return refuse(f"The tokenizer of this model cannot be used: {error}")
    try:
        shown = preview(rows, asked, tokenizer)
    except TemplateFailed as error:
        return refuse(f"The template cannot render these rows: {error}")
    made = {"spelled_out": tokenizer.spelled_out(asked.special_tokens), "data": shown}
    out.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
