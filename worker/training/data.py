"""Encodes a plan's rows with the tokenizer that transformers loaded; `app.core` lays them out."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from app.core.datasets.formats import Row
from app.core.datasets.layout import splits
from app.core.datasets.layout.encode import encode_chunk, encode_rows, refusals
from app.core.datasets.layout.splits import Splits
from app.core.datasets.layout.stored import read_rows
from app.core.datasets.tokens.encoding import Example
from app.core.datasets.tokens.framing import framed
from app.core.datasets.tokens.rendering import prompt_text
from app.core.datasets.tokens.templates import is_named
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.jobs.protocol import Plan, RowsFile
from app.core.jobs.spec import JobSpec
from app.core.models.limits import Limits, vocabulary_size
from worker.training.failures import BadModel
from worker.training.model import max_positions

_COMPARED = 64
"""Rows encoded both ways, to check that a preview shows what is trained."""


def load_splits(
    plan: Plan, tokenizer: Any, still_working: Callable[[], None] = lambda: None
) -> Splits[Example]:
    """Training and held-out examples; rejects unusable rows before a model is loaded.

    `still_working` is called after each chunk of rows.
    """
    rows_tokenizer = row_tokenizer(tokenizer)

    def encoded(file: RowsFile) -> list[Example]:
        rows = list(read_rows(Path(file.path), plan.spec.template))
        return list(encode_rows(rows, plan.spec, rows_tokenizer, still_working))

    limits = Limits(max_positions(plan, tokenizer), vocabulary_size(Path(plan.base.path)))
    held_out = encoded(plan.validation_rows) if plan.validation_rows else None
    files = (plan.rows, plan.validation_rows)
    first, second = (each.num_invalid if each else 0 for each in files)
    return splits.lay_out(encoded(plan.rows), held_out, plan.spec, limits, (first, second))


def prompt_texts(rows: Sequence[Row], template: str, tokenizer: Any) -> list[str]:
    """The prompt of each row: the text a model is given before it answers."""
    rows_tokenizer = row_tokenizer(tokenizer)
    with refusals(rows_tokenizer):
        return [prompt_text(row, template, rows_tokenizer) for row in rows]


def prompt_ids(texts: Sequence[str], tokenizer: Any, *, special: bool) -> list[list[int]]:
    """The tokens that generation starts from, as in training. `special`: the tokenizer's BOS is
    added, and an EOS that it adds is removed.
    """
    rows_tokenizer = row_tokenizer(tokenizer)
    if not special:
        return rows_tokenizer.ids(texts, special=False)
    found = framed(texts, rows_tokenizer)
    return [ids[:-1] if ids[-1:] == [rows_tokenizer.eos_id] else ids for ids in found]


def row_tokenizer(tokenizer: Any) -> RowTokenizer:
    """Wrap the tokenizer that transformers loaded, so that rows are encoded with it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BadModel("The tokenizer has no tokenizer.json, and none can be built from its files.")
    return RowTokenizer.from_backend(
        backend,
        tokenizer.special_tokens_map,
        tokenizer.chat_template,
        split_special=bool(getattr(tokenizer, "split_special_tokens", False)),
    )


def preview_differs(plan: Plan, tokenizer: Any) -> bool:
    """Whether the first rows get different tokens in a preview than in training."""
    rows = list(islice(read_rows(Path(plan.rows.path), plan.spec.template), _COMPARED))
    return differs_from_folder(rows, plan.spec, tokenizer, Path(plan.base.path))


def differs_from_folder(
    rows: Sequence[tuple[int, Row]], spec: JobSpec, tokenizer: Any, folder: Path
) -> bool:
    """Whether previews, which read the model's files, tokenize differently than transformers."""
    try:
        shown = RowTokenizer.from_folder(folder)
    except (OSError, ValueError):
        return False  # no preview was possible either
    if is_named(spec.template):
        shown = shown.with_chat_template(tokenizer.chat_template)
    trained = encode_chunk(rows, spec, row_tokenizer(tokenizer))
    try:
        return encode_chunk(rows, spec, shown) != trained
    except (LookupError, ValueError):
        return True
