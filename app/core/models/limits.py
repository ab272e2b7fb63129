"""A base model's limits, read from its folder as the trainer does."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MAX_LENGTH = 1 << 20
"""The largest `max_length` of a spec."""


@dataclass(frozen=True)
class Limits:
    positions: int
    """Longest sequence that base model and tokenizer support, in tokens."""
    vocabulary: int
    """Rows of the embedding."""

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """Read config.json and tokenizer_config.json. Raises OSError or ValueError."""
        path = folder / "tokenizer_config.json"
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return cls(
            max_positions(folder, config.get("model_max_length") or MAX_LENGTH),
            vocabulary_size(folder),
        )


def max_positions(folder: Path, of_tokenizer: float) -> int:
    """The smallest of the base model's limit, the tokenizer's and MAX_LENGTH, in tokens."""
    of_base = _number(folder, "max_position_embeddings") or _number(folder, "n_positions")
    return int(min(of_base or MAX_LENGTH, of_tokenizer, MAX_LENGTH))


def vocabulary_size(folder: Path) -> int:
    return _number(folder, "vocab_size") or 1 << 62


def _number(folder: Path, name: str) -> int | None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    nested = config.get("text_config") or {}
    value = config.get(name) or nested.get(name)
    return int(value) if value else None
