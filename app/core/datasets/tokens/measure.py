"""python -m app.core.datasets.tokens.measure MODEL TEMPLATE CHAT_TEMPLATE TRAIN_ON OUT < rows.jsonl

Measure each row of a canonical file, in characters and in tokens. Runs as a sandboxed child.
The file CHAT_TEMPLATE, if it exists, replaces the model's own chat template.
"""

import json
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from app.core.datasets.tokens.chat import TemplateFailed
from app.core.datasets.tokens.encoding import encode
from app.core.datasets.tokens.lengths import Measured
from app.core.datasets.tokens.rendering import whole_text
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.sandbox.child import refuse
from app.core.sandbox.pace import paced

_CHUNK = 1000


def measure(
    lines: Iterable[bytes], tokenizer: RowTokenizer, template: str, train_on: str
) -> Measured:
    """Return one number of each kind per row, by the code that encodes the trainer's batches."""
    counted: list[tuple[int, int, int]] = []
    with paced(enumerate(map(json.loads, lines))) as numbered:
        while rows := list(islice(numbered, _CHUNK)):
            for (_, row), example in zip(
                rows, encode(rows, template, train_on, tokenizer), strict=True
            ):
                characters = len(whole_text(row, template, tokenizer))
                counted.append((characters, len(example.input_ids), example.prompt_size))
    columns = zip(*counted, strict=True) if counted else ((), (), ())
    return Measured(*(np.array(each, dtype=np.int64) for each in columns))


def main(arguments: list[str]) -> int:
    model, template, chat_template, train_on, out = arguments
    tokenizer = RowTokenizer.from_folder(Path(model))
    if Path(chat_template).is_file():
        text = Path(chat_template).read_text(encoding="utf-8")
        tokenizer = tokenizer.with_chat_template(text)
    try:
        measured = measure(sys.stdin.buffer, tokenizer, template, train_on)
    except TemplateFailed as error:
        return refuse(f"The template cannot render these rows: {error}")
    np.savez(out, **measured._asdict())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
