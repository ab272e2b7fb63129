"""Broken and unusual uploads in Parquet and gzip, and what is reported for each."""

import datetime
import gzip
import io
import struct
import tarfile
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.core.datasets.malformed import ALSO, ANSWER, ASK, GOOD, array, lines

ROWS = [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]


def parquet(table: pa.Table | dict[str, Any] | list[dict[str, Any]], **options: Any) -> bytes:
    if isinstance(table, list):
        table = pa.Table.from_pylist(table)
    elif isinstance(table, dict):
        table = pa.table(table)
    written = io.BytesIO()
    pq.write_table(table, written, **options)
    return written.getvalue()


def varint(number: int) -> bytes:
    """Encode a number as in Parquet's footer and page headers."""
    number, made = number * 2, b""
    while number > 127:
        made, number = made + bytes([number & 127 | 128]), number >> 7
    return made + bytes([number])


def forged(content: bytes, told: int, lie: int, *, at: str = "footer", times: int = -1) -> bytes:
    """Replace the count `told` by another of the same length, in the footer or in the pages."""
    true, false = varint(told), varint(lie)
    assert len(true) == len(false)
    start = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
    parts = {"pages": content[:start], "footer": content[start:]}
    assert true in parts[at], "nothing to forge"
    parts[at] = parts[at].replace(true, false, times)
    return parts["pages"] + parts["footer"]


def spoiled(content: bytes, at: int, what: bytes = b"\xff" * 8) -> bytes:
    return content[:at] + what + content[at + len(what) :]


def tar(content: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        info = tarfile.TarInfo("rows.jsonl")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return written.getvalue()


def zipped(content: bytes) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("rows.jsonl", content)
    return written.getvalue()


def column(values: Any, **others: Any) -> bytes:
    """Return two rows, with these values as their `output`."""
    return parquet({"instruction": ["a", "c"], "output": values, **others})


def deep(depth: int) -> bytes:
    kind = pa.string()
    for _ in range(depth):
        kind = pa.list_(kind)
    return parquet({"history": pa.array([None], kind), **{k: ["a"] for k in ROWS[0]}})


PLAIN = parquet(ROWS, compression="none")
MANY = parquet([{"instruction": f"a {n}", "output": "b" * 50} for n in range(5_001)])
NOT_UTF8 = pa.array([b"b", b"\xff"]).view(pa.string())

PARQUET = {
    "parquet, nothing behind its mark": (b"PAR1\x15\x04", [("parquet_invalid", 1)], 0),
    "parquet, cut in half": (PLAIN[: len(PLAIN) // 2], [("parquet_invalid", 1)], 0),
    "parquet, cut by a byte": (PLAIN[:-1], [("parquet_invalid", 1)], 0),
    "parquet, a footer longer than the file": (
        PLAIN[:-8] + struct.pack("<I", 1 << 31) + b"PAR1",
        [("parquet_invalid", 1)],
        0,
    ),
    "parquet, a footer of nothing": (
        b"PAR1" + bytes(100) + struct.pack("<I", 100) + b"PAR1",
        [("parquet_invalid", 1)],
        0,
    ),
    "parquet, marked as encrypted": (
        b"PARE" + PLAIN[4:-4] + b"PARE",
        [("parquet_encrypted", 1)],
        0,
    ),
    "parquet, an encrypted footer": (PLAIN[:-4] + b"PARE", [("parquet_encrypted", 1)], 0),
    "parquet, damaged pages": (
        spoiled(PLAIN, 4, b"\xff" * 60),
        [("parquet_invalid", 1)],
        0,
    ),
    "parquet, fewer rows told than there are": (
        forged(MANY, 5_001, 4_999, times=1),
        [("parquet_invalid", 1)],
        0,
    ),
    "parquet, more rows told than there are": (
        forged(MANY, 5_001, 8_000),
        [("parquet_invalid", 5_001)],
        5_001,
    ),
    "parquet, pages that tell of other numbers": (
        forged(MANY, 5_001, 8_001, at="pages"),
        [("parquet_invalid", 1)],
        0,
    ),
    "parquet nested too deeply": (deep(20), [("parquet_invalid", 1)], 0),
    "parquet nested very deeply": (deep(300), [("parquet_invalid", 1)], 0),
    "parquet of very many columns": (
        parquet({f"c{n}": ["a"] for n in range(1_001)}),
        [("parquet_invalid", 1)],
        0,
    ),
    "parquet, a column twice": (
        parquet(pa.Table.from_arrays([pa.array(["a"])] * 3, ["instruction", "output", "output"])),
        [("parquet_invalid", 1)],
        0,
    ),
    "parquet without rows": (parquet(pa.Table.from_pylist(ROWS)[:0]), [("no_rows", None)], 0),
    "parquet without columns": (parquet(pa.table({})), [("no_rows", None)], 0),
    "parquet with other names": (
        parquet({"question": ["a"], "answer": ["b"]}),
        [("field_missing", 1), ("field_missing", 1)],
        0,
    ),
    "parquet, output null": (column(["b", None]), [("field_null", 2)], 1),
    "parquet, output blank": (column(["b", " \n"]), [("output_empty", 2)], 1),
    "parquet, output numbers": (
        column([1, 2]),
        [("field_type", 1), ("field_type", 2)],
        0,
    ),
    "parquet, output not a number": (
        column([float("nan"), None]),
        [("field_type", 1), ("field_null", 2)],
        0,
    ),
    "parquet, output flags": (column([True, None]), [("field_type", 1), ("field_null", 2)], 0),
    "parquet, output bytes": (column([b"b", None]), [("field_type", 1), ("field_null", 2)], 0),
    "parquet, output dates": (
        column([datetime.datetime(2026, 1, 1), None]),
        [("field_type", 1), ("field_null", 2)],
        0,
    ),
    "parquet, output lists": (column([["b"], None]), [("field_type", 1), ("field_null", 2)], 0),
    "parquet, output maps": (
        column(pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string()))),
        [("field_type", 1), ("field_null", 2)],
        0,
    ),
    "parquet, NUL in a text": (column(["b", "\0"]), [("nul_character", 2)], 1),
    "parquet, latin-1 in a text": (column(NOT_UTF8), [("not_utf8", 2)], 1),
    "parquet, a long row": (column(["b", "x" * 100_000]), [("row_too_long", 2)], 1),
    "parquet, a very long row": (column(["b", "x" * 20_000_000]), [("row_too_long", 2)], 1),
    "parquet, a history of numbers": (
        column(["b", "d"], history=[[["a", "b"]], [["a"]]]),
        [("history_invalid", 2)],
        1,
    ),
    "parquet, messages without an answer": (
        parquet([{"messages": [ASK, ANSWER]}, {"messages": [ASK]}, {"messages": None}]),
        [("answer_missing", 2), ("messages_invalid", 3)],
        1,
    ),
    "parquet, copies": (parquet(ROWS * 2), [("duplicate_rows", None)], 4),
}

PACKED = gzip.compress(lines(GOOD, ALSO))
LOOSE = gzip.compress(lines(GOOD, ALSO), compresslevel=0)
"""Not compressed, so that the text can be found in it."""
GZIP = {
    "gzip, its first bytes": (b"\x1f\x8b\x08\0\0\0", [("gzip_invalid", 1)], 0),
    "gzip of nothing": (gzip.compress(b""), [("file_empty", 1)], 0),
    "gzip, cut in its second row": (LOOSE[: LOOSE.index(ALSO) + 9], [("gzip_invalid", 1)], 1),
    "gzip, cut behind its text": (LOOSE[:-8], [("gzip_invalid", 2)], 2),
    "gzip of an array, cut": (
        (loose := gzip.compress(array(GOOD, ALSO), compresslevel=0))[: loose.index(ALSO) + 9],
        [("gzip_invalid", 2)],
        1,
    ),
    "gzip of csv, cut in its second row": (
        (loose := gzip.compress(b"instruction,output\na,b\nc,defg\n", 0))[: loose.index(b"fg")],
        [("gzip_invalid", 2)],
        1,
    ),
    "gzip, damaged": (LOOSE.replace(b'"d"', b'"e"'), [("gzip_invalid", 1)], 0),
    "gzip and garbage": (PACKED + b"garbage", [("gzip_invalid", 2)], 2),
    "gzip in many pieces": (
        gzip.compress(b"") * 1_100 + PACKED,
        [("gzip_invalid", 1)],
        0,
    ),
    "gzip in gzip": (gzip.compress(PACKED), [("gzip_content", 1)], 0),
    "zip in gzip": (gzip.compress(zipped(lines(GOOD))), [("gzip_content", 1)], 0),
    "tar in gzip": (gzip.compress(tar(lines(GOOD))), [("gzip_content", 1)], 0),
    "parquet in gzip": (gzip.compress(PLAIN), [("gzip_content", 1)], 0),
    "plain text in gzip": (gzip.compress(b"hello there\n"), [("gzip_content", 1)], 0),
    "gzip, a bad line": (
        gzip.compress(lines(GOOD, b"{}", ALSO)),
        [("field_missing", 2), ("field_missing", 2)],
        2,
    ),
    "gzip, a bad item": (gzip.compress(array(GOOD, b"{", ALSO)), [("json_invalid", 3)], 2),
    "gzip, a bad cell": (gzip.compress(b"instruction,output\na,\nc,d\n"), [("output_empty", 2)], 1),
    "gzip, latin-1 in a line": (
        gzip.compress(lines(GOOD, b'{"instruction": "\xe9"}')),
        [("not_utf8", 2)],
        1,
    ),
    "zip of rows": (zipped(lines(GOOD)), [("format_unsupported", 1)], 0),
    "tar of rows": (tar(lines(GOOD)), [("format_unsupported", 1)], 0),
}
FILES = {**PARQUET, **GZIP}


TEXT = pa.string()
TURNS = pa.large_list(
    pa.struct({"role": pa.dictionary(pa.int8(), TEXT), "content": pa.large_string()})
)


def texts(kind: pa.DataType) -> bytes:
    return parquet({key: pa.array(["a", "b"]).cast(kind) for key in ROWS[0]})


HARMLESS = {
    "parquet": (PLAIN, set()),
    "parquet in groups": (parquet(ROWS, row_group_size=1), set()),
    "parquet without pyarrow's schema": (parquet(ROWS, store_schema=False), set()),
    "parquet of large strings": (texts(pa.large_string()), set()),
    "parquet of string views": (texts(pa.string_view()), set()),
    "parquet of dictionaries": (texts(pa.dictionary(pa.int32(), pa.string())), set()),
    "parquet, input null": (column(["b", "d"], input=["x", None]), {"null_read_as_empty"}),
    "parquet with a history": (column(["b", "d"], history=[[["x", "y"]], []]), set()),
    "parquet with a history of pairs": (
        column(["b", "d"], history=pa.array([[["x", "y"]], None], pa.list_(pa.list_(TEXT, 2)))),
        {"null_read_as_empty"},
    ),
    "parquet of large lists of dictionaries": (
        parquet({"messages": pa.array([[ASK, ANSWER], [{**ASK, "content": "c"}, ANSWER]], TURNS)}),
        set(),
    ),
    "parquet with other columns": (
        column(["b", "d"], at=[datetime.datetime(2026, 1, 1), None], image=[b"\xff", None]),
        {"column_ignored"},
    ),
    "parquet of messages": (
        parquet(
            [
                {"messages": [ASK, {**ANSWER, "weight": 1}]},
                {"messages": [{**ASK, "content": "c"}, ANSWER]},
            ]
        ),
        set(),
    ),
    "parquet of parts": (
        parquet(
            [
                {"messages": [{**each, "content": [{"type": "text", "text": n}]} for each in turn]}
                for n, turn in (("a", (ASK, ANSWER)), ("b", (ASK, ANSWER)))
            ]
        ),
        set(),
    ),
    "gzip": (PACKED, set()),
    "gzip of an array": (gzip.compress(array(GOOD, ALSO)), set()),
    "gzip of csv": (gzip.compress(b"instruction,output\na,b\nc,d\n"), set()),
    "gzip in two pieces": (gzip.compress(lines(GOOD)) + gzip.compress(lines(ALSO)), set()),
    "gzip, filled up with zeros": (PACKED + bytes(512), set()),
    "gzip with a mark": (gzip.compress(b"\xef\xbb\xbf" + lines(GOOD, ALSO)), {"bom"}),
}
