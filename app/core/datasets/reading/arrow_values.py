"""Convert Arrow arrays to Python values, and estimate their size. Child processes only."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import types

from app.core.datasets.formats import Other

_PER_VALUE = 16
"""Bytes counted per value in addition to its text: about a key and its punctuation in JSON."""


def is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def is_plain(kind: pa.DataType) -> bool:
    """Whether its values are JSON scalars, or bytes."""
    looks: tuple[Callable[[pa.DataType], bool], ...] = (
        is_text, types.is_boolean, types.is_integer, types.is_floating, types.is_null,
        types.is_binary, types.is_large_binary, types.is_fixed_size_binary,
    )  # fmt: skip
    return any(look(kind) for look in looks)


def weigh(array: pa.Array) -> int:
    """Estimate the size of an array in bytes: its texts, and every value at any depth."""
    kind = array.type
    if types.is_dictionary(kind):
        return weigh(array.dictionary_decode())
    own = _PER_VALUE * len(array)
    if is_list(kind):
        return own + weigh(_items(array))
    if types.is_struct(kind):
        return own + sum(weigh(array.field(at)) for at in range(kind.num_fields))
    return own + int(array.nbytes)


def to_python(array: pa.Array) -> list[Any]:
    """Return the values of an array. Raises UnicodeDecodeError if a text is not UTF-8.

    A value without a JSON equivalent, such as a date, becomes an Other.
    """
    kind = array.type
    if types.is_dictionary(kind):
        return to_python(array.dictionary_decode())
    if is_plain(kind):
        return list(array.to_pylist())
    if is_list(kind):
        return _lists(array)
    if types.is_struct(kind):
        return _objects(array)
    return [Other(str(kind)) if there else None for there in array.is_valid().to_pylist()]


def _items(array: pa.Array) -> pa.Array:
    """Return the items of all lists in an array, including those of null lists."""
    if types.is_fixed_size_list(array.type):
        size = array.type.list_size
        return array.values.slice(array.offset * size, len(array) * size)
    if not len(array):
        return array.values.slice(0, 0)
    offsets = array.offsets
    first, last = offsets[0].as_py(), offsets[-1].as_py()
    return array.values.slice(first, last - first)


def _lists(array: pa.Array) -> list[Any]:
    if not len(array):
        return []
    items = to_python(_items(array))
    if types.is_fixed_size_list(array.type):
        ends = [array.type.list_size * n for n in range(len(array) + 1)]
    else:
        ends = array.offsets.to_pylist()
    there = array.is_valid().to_pylist()
    first = ends[0]
    return [
        items[ends[at] - first : ends[at + 1] - first] if is_there else None
        for at, is_there in enumerate(there)
    ]


def _objects(array: pa.Array) -> list[Any]:
    names = [field.name for field in array.type]
    columns = [to_python(array.field(at)) for at in range(len(names))]
    there = array.is_valid().to_pylist()
    if not names:
        return [{} if is_there else None for is_there in there]
    rows = zip(there, zip(*columns, strict=True), strict=True)
    return [dict(zip(names, row, strict=True)) if is_there else None for is_there, row in rows]
