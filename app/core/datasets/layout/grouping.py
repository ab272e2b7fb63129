"""Group rows into sequences: packed into as few as possible, or one sequence per row."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

from app.core.datasets.layout.outline import Encoded

T = TypeVar("T", bound=Encoded)


def grouped(rows: Iterable[T], max_length: int, *, packed: bool) -> list[list[T]]:
    """Return the parts of each sequence, in order."""
    return pack(rows, max_length) if packed else alone(rows, max_length)


def alone(rows: Iterable[T], max_length: int) -> list[list[T]]:
    """Return one sequence per row, truncated at the end."""
    return [[cut_off(each, max_length)] for each in rows]


def pack(rows: Iterable[T], max_length: int) -> list[list[T]]:
    """Pack rows by best-fit decreasing; a row beyond `max_length` is split, not truncated.

    A piece without a trained token is left out: no other piece attends to it, so that it would
    cost compute and teach nothing. Deterministic.
    """
    parts = [piece for each in rows for piece in pieces(each, max_length) if piece.num_trained]
    parts.sort(key=lambda piece: -piece.size)
    bins: list[list[T]] = []
    with_room: dict[int, list[int]] = defaultdict(list)
    rooms: list[int] = []
    """The keys of `with_room` that have a bin, sorted: never more than `max_length`."""
    for part in parts:
        place = bisect_left(rooms, part.size)
        if place < len(rooms):
            room = rooms[place]
            number = with_room[room].pop()
            if not with_room[room]:
                del rooms[place]
            bins[number].append(part)
        else:
            room, number = max_length, len(bins)
            bins.append([part])
        left = room - part.size
        if not with_room[left]:
            insort(rooms, left)
        with_room[left].append(number)
    return bins


def cut_off(row: T, max_length: int) -> T:
    return row if row.size <= max_length else row.cut(0, max_length)


def pieces(row: T, max_length: int) -> list[T]:
    """Split a row. The last piece has at least two tokens: a lone EOS would have no context."""
    starts = list(range(0, row.size, max_length))
    if len(starts) == 1:
        return [row]
    if row.size - starts[-1] == 1:
        starts[-1] -= 1
    return [row.cut(start, end) for start, end in pairwise([*starts, row.size])]
