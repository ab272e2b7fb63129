"""An encoded row without its tokens: what determines its layout and what is trained."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, Self

from app.core.datasets.tokens.encoding import IGNORED, Example


class Encoded(Protocol):
    """What a layout needs of a row: an `Example` or its `Outline`."""

    @property
    def row(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def prompt_size(self) -> int: ...
    @property
    def num_trained(self) -> int: ...
    @property
    def highest_id(self) -> int: ...
    @property
    def unlike_prompt(self) -> bool: ...
    @property
    def hidden(self) -> frozenset[str]: ...
    @property
    def refused(self) -> str: ...
    @property
    def num_answers(self) -> int: ...
    @property
    def num_not_found(self) -> int: ...

    def cut(self, start: int, end: int) -> Self: ...


def is_dropped(row: Encoded, max_length: int) -> bool:
    """Whether no token of the row would be trained."""
    return not row.num_trained or row.prompt_size >= max_length


@dataclass(frozen=True, slots=True)
class Outline:
    """Takes a thousandth of the memory of the row's tokens, so that a dry run can hold millions."""

    row: int
    size: int
    trained: tuple[tuple[int, int], ...]
    """Ranges of positions with a label, each [start, end)."""
    highest_id: int = -1
    unlike_prompt: bool = False
    hidden: frozenset[str] = frozenset()
    refused: str = ""
    num_answers: int = 1
    num_not_found: int = 0

    @classmethod
    def of(cls, example: Example) -> "Outline":
        return cls(
            row=example.row,
            size=example.size,
            trained=tuple(_ranges(example)),
            highest_id=example.highest_id,
            unlike_prompt=example.unlike_prompt,
            hidden=example.hidden,
            refused=example.refused,
            num_answers=example.num_answers,
            num_not_found=example.num_not_found,
        )

    @property
    def prompt_size(self) -> int:
        return self.trained[0][0] if self.trained else self.size

    @property
    def num_trained(self) -> int:
        # The first token has no context to be predicted from.
        return sum(end - max(start, 1) for start, end in self.trained if end > 1)

    def cut(self, start: int, end: int) -> "Outline":
        end = min(end, self.size)
        inside = ((max(at, start) - start, min(to, end) - start) for at, to in self.trained)
        return Outline(self.row, end - start, tuple(each for each in inside if each[0] < each[1]))


def _ranges(example: Example) -> Iterator[tuple[int, int]]:
    start, labels = example.prompt_size, example.labels
    if start == len(labels):
        return
    if IGNORED not in labels[start:]:  # nearly every row: one answer, to the end
        yield start, len(labels)
        return
    at = start
    for is_trained, run in groupby(labels[start:], lambda label: label != IGNORED):
        end = at + sum(1 for _ in run)
        if is_trained:
            yield at, end
        at = end
