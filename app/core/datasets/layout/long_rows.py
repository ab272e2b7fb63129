"""What becomes of a row longer than `max_length`: the values of a spec's `on_long_row`."""

from typing import Literal

LongRows = Literal["split", "truncate", "drop"]
CHOICES: tuple[LongRows, ...] = ("split", "truncate", "drop")


def usual(*, packed: bool) -> LongRows:
    """Return what becomes of long rows where a job does not say."""
    return "split" if packed else "truncate"


def lost(size: int, limit: int, choice: LongRows) -> int:
    """Return how many tokens of a row longer than `limit` are not trained on."""
    if choice == "split":
        return (size - 1) // limit  # a piece's first token has no context
    return size - limit if choice == "truncate" else size
