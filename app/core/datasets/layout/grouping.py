"""Which rows share a sequence: packed, as few sequences as are found, or each row by itself."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

from app.core.datasets.layout.outline import Encoded

T = TypeVar("T", bound=Encoded)


def grouped(rows: Iterable[T], max_length: int, *, packed: bool) -> list[list[T]]:
    """The parts of each sequence, in order."""
    return pack(rows, max_length) if packed else alone(rows, max_length)


def alone(rows: Iterable[T], max_length: int) -> list[list[T]]:
    """One sequence per row, cut at the end."""
    return [[cut_off(each, max_length)] for each in rows]


def pack(rows: Iterable[T], max_length: int) -> list[list[T]]:
    """As few sequences as best-fit-decreasing finds; what exceeds `max_length` is split, not lost.

    A piece in which nothing is trained is left out: alone in its part of the mask, it would teach
    nothing and be paid for. Same rows, same result.
    """
    parts = [piece for each in rows for piece in pieces(each, max_length) if piece.num_trained]
    parts.sort(key=lambda piece: -piece.size)
    bins: list[list[T]] = []
    with_room: dict[int, list[int]] = defaultdict(list)
    rooms: list[int] = []
    """The keys of `with_room` that have a bin: never more than `max_length` of them."""
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
    """The last one holds two tokens at least: an EOS by itself has nothing to be predicted from."""
    starts = list(range(0, row.size, max_length))
    if len(starts) == 1:
        return [row]
    if row.size - starts[-1] == 1:
        starts[-1] -= 1
    return [row.cut(start, end) for start, end in pairwise([*starts, row.size])]
