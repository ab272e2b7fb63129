"""Headers of safetensors files, read without a tensor library.

The rules are those of the format's own reader (github.com/huggingface/safetensors, README
"Format"): 8 bytes of length, a JSON header of at most 100 MB, then tensors without gap or overlap.
"""

import json
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

MAX_HEADER_BYTES = 100_000_000

_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


class BadWeights(Exception):
    """A file does not match its header; the message is a predicate that follows the file's name."""


def read_sizes(path: Path) -> dict[str, int]:
    """Return the number of elements of each tensor. Raises BadWeights."""
    return {name: prod(shape) for name, (shape, _) in read_tensors(path).items()}


def read_tensors(path: Path) -> dict[str, tuple[tuple[int, ...], int]]:
    """Return each tensor's shape and bits per element. Raises BadWeights."""
    stat = path.stat()
    return _read_tensors(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=512)
def _read_tensors(
    path: Path, num_bytes: int, _mtime_ns: int
) -> dict[str, tuple[tuple[int, ...], int]]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if num_bytes < 10 or length > num_bytes - 8:
            raise BadWeights("is shorter than its header says: the file was cut off")
        if length > MAX_HEADER_BYTES:
            raise BadWeights(f"has a header of {length:,} bytes; the limit is 100 MB")
        header = _parse(file.read(length))
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if not tensors:
        raise BadWeights("holds no tensors")
    _check_layout(tensors, num_bytes - 8 - length)
    return {name: (tuple(entry["shape"]), _BITS[entry["dtype"]]) for name, entry in tensors.items()}


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadWeights("has a header that is not JSON") from None
    if not isinstance(header, dict):
        raise BadWeights("has a header that is not an object")
    return header


def _check_layout(tensors: dict[str, Any], num_bytes: int) -> None:
    """Check that each tensor begins where the previous one ends, and the last with the file."""
    spans = sorted((_span(name, entry), name) for name, entry in tensors.items())
    expected = 0
    for (begin, end), name in spans:
        if begin != expected:
            raise BadWeights(f"has a gap or an overlap before tensor {name[:80]!a}")
        expected = end
    if expected != num_bytes:
        raise BadWeights(f"has {num_bytes:,} bytes of tensors, but its header says {expected:,}")


def _span(name: str, entry: Any) -> tuple[int, int]:
    try:
        (begin, end), shape, dtype = entry["data_offsets"], entry["shape"], entry["dtype"]
        numbers = [begin, end, *shape]
        is_sane = all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)
        num_bits = prod(shape) * _BITS[dtype]
    except (KeyError, TypeError, ValueError):
        raise BadWeights(f"has an invalid header entry for tensor {name[:80]!a}") from None
    if not is_sane or num_bits != (end - begin) * 8:
        raise BadWeights(f"has offsets for tensor {name[:80]!a} that do not match its shape")
    return begin, end
