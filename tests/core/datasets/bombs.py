"""Small files that decompress to large ones: writers, and the problems to be reported."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GIB = 1 << 30


def of_one_value(path: Path, num_rows: int, value: str, **options: object) -> None:
    """Identical rows, whose value is stored once in a dictionary."""
    chunk = min(num_rows, 20_000)
    column = pa.DictionaryArray.from_arrays(pa.array([0] * chunk, pa.int32()), pa.array([value]))
    table = pa.table({"instruction": column, "output": column})
    with pq.ParquetWriter(path, table.schema, write_statistics=False, **options) as writer:
        for _ in range(num_rows // chunk):
            writer.write_table(table)


def twenty_gigabytes(path: Path) -> None:
    """20 million rows of two texts of 500 characters, in about 2 MB."""
    of_one_value(path, 20_000_000, "x" * 500, compression="none")
    assert 1_000_000 < path.stat().st_size < 4_000_000


def more_than_its_rows_tell(path: Path) -> None:
    """1.5 million rows of 2,000 characters: too few for their number to reveal the size."""
    of_one_value(path, 1_500_000, "x" * 2_000, compression="zstd")


def long_values(path: Path) -> None:
    of_one_value(path, 1_000, "x" * 20_000_000, compression="zstd", dictionary_pagesize_limit=GIB)


def one_long_list(path: Path) -> None:
    """One row of sixteen million texts."""
    size = 1 << 24
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, "int32")), pa.array(["x" * 100]))
    offsets = pa.array([0, size], pa.int32())
    pq.write_table(pa.table({"messages": pa.ListArray.from_arrays(offsets, texts)}), path)


def nothing_but_nulls(path: Path) -> None:
    nulls = pa.nulls(50_000_000, pa.string())
    pq.write_table(pa.table({"instruction": nulls, "output": nulls}), path)


def a_page_said_to_be_large(path: Path) -> None:
    """A few kilobytes, with a page header that asks for two gigabytes."""
    table = pa.table({"instruction": ["a" * 140_000_000], "output": ["b"]})
    options = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, path, **options)
    content = path.read_bytes()
    # Thrift: field 1, a data page; field 2, its uncompressed size, five bytes here; field 3.
    at = content.index(b"\x15\x00\x15", 4) + 3
    assert content[at + 5] == 0x15
    path.write_bytes(content[:at] + b"\xfe\xff\xff\xff\x0f" + content[at + 5 :])


def a_long_line(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'{"instruction": "')
        file.truncate(GIB)


def a_long_item(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'[\n{"instruction": "a", "output": "b"},\n{"instruction": "')
        file.truncate(GIB)


def a_long_cell(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'instruction,output\na,"')
        file.truncate(GIB)


def packed_line(path: Path) -> None:
    with gzip.open(path, "wb", 9) as file:
        file.write(b'{"instruction": "')
        for _ in range(512):
            file.write(bytes(1 << 20))


def packed_rows(path: Path) -> None:
    """Valid rows, and more of them than such a small file should have."""
    row = b'{"instruction": "a", "output": "b"}\n' * 30_000
    with gzip.open(path, "wb", 9) as file:
        for _ in range(128):
            file.write(row)


def deep(path: Path) -> None:
    good = b'{"instruction": "a", "output": "b"}'
    nested = b'{"instruction": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    path.write_bytes(good + b"\n" + nested + b"\n" + good + b"\n")


def not_finite(path: Path) -> None:
    path.write_bytes(b'[{"instruction": "a", "output": "b"},\n{"instruction": NaN, "output": 1}]')


Bomb = tuple[Callable[[Path], None], list[tuple[str, int]], int]
BOMBS: list[Bomb] = [
    (twenty_gigabytes, [("unpacked_too_large", 1)], 0),
    (more_than_its_rows_tell, [("unpacked_too_large", 16_384)], 16_384),
    (long_values, [("unpacked_too_large", 1)], 0),
    (one_long_list, [("unpacked_too_large", 1)], 0),
    (nothing_but_nulls, [("unpacked_too_large", 1)], 0),
    (a_page_said_to_be_large, [("unpacked_too_large", 1)], 0),
    (a_long_line, [("row_too_long", 1)], 0),
    (a_long_item, [("json_control_character", 3)], 1),
    (a_long_cell, [("row_too_long", 2)], 0),
    (packed_line, [("unpacked_too_large", 1)], 0),
    (packed_rows, [("unpacked_too_large", 1)], 0),
    (deep, [("too_deep", 2)], 2),
    (not_finite, [("json_not_finite", 2)], 1),
]
