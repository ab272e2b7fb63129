"""Group rows into sequences: packed into as few as possible, or one sequence per row."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

from app.core.datasets.layout.long_rows import LongRows
from app.core.datasets.layout.outline import Encoded

T = TypeVar("T", bound=Encoded)


def in_sequences(parts: Iterable[T], pack_length: int | None) -> list[list[T]]:
    """Return the parts of each sequence, in order: packed into `pack_length` tokens, or alone."""
    return [[each] for each in parts] if pack_length is None else pack(parts, pack_length)


def parts_of(row: T, max_length: int, long_rows: LongRows) -> list[T]:
    """Return what is trained of a row.

    A piece without a trained token is left out: no other piece attends to it, so that it would
    cost compute and teach nothing.
    """
    if row.size <= max_length or long_rows == "truncate":
        return [cut_off(row, max_length)]
    if long_rows == "drop":
        return []
    return [piece for piece in pieces(row, max_length) if piece.num_trained]


def pack(parts: Iterable[T], max_length: int) -> list[list[T]]:
    """Pack the parts that train something by best-fit decreasing. Deterministic."""
    useful = [part for part in parts if part.num_trained]
    useful.sort(key=lambda piece: -piece.size)
    bins: list[list[T]] = []
    with_room: dict[int, list[int]] = defaultdict(list)
    rooms: list[int] = []
    """The keys of `with_room` that have a bin, sorted: never more than `max_length`."""
    for part in useful:
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
