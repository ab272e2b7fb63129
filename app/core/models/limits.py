"""What a base can take, as the trainer reads it from the folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MAX_LENGTH = 1 << 20
"""The largest `max_length` of a spec."""


@dataclass(frozen=True)
class Limits:
    positions: int
    """Tokens in a row that base and tokenizer are made for."""
    vocabulary: int
    """Rows of the embedding."""

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """From config.json and tokenizer_config.json. Raises OSError or ValueError."""
        said = folder / "tokenizer_config.json"
        config = json.loads(said.read_text(encoding="utf-8")) if said.is_file() else {}
        return cls(
            max_positions(folder, config.get("model_max_length") or MAX_LENGTH),
            vocabulary_size(folder),
        )


def max_positions(folder: Path, of_tokenizer: float) -> int:
    """What a spec allows if neither base nor tokenizer says less."""
    of_base = _number(folder, "max_position_embeddings") or _number(folder, "n_positions")
    return int(min(of_base or MAX_LENGTH, of_tokenizer, MAX_LENGTH))


def vocabulary_size(folder: Path) -> int:
    return _number(folder, "vocab_size") or 1 << 62


def _number(folder: Path, name: str) -> int | None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    nested = config.get("text_config") or {}
    value = config.get(name) or nested.get(name)
    return int(value) if value else None
