"""Any mix of good and bad rows: exactly the bad ones are reported, exactly the good ones stored."""

import csv
import gzip
import io
import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.datasets.checking.check import check
from app.core.datasets.reading.arrays import read_values
from app.core.datasets.reading.readers import read_lines
from tests.core.datasets.packed import parquet

pytestmark = pytest.mark.slow

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
solid = text.filter(lambda value: bool(value.strip()))
good_rows = st.fixed_dictionaries(
    {"instruction": solid, "output": solid},
    optional={
        "input": text,
        "system": text,
        "history": st.lists(st.lists(text, min_size=2, max_size=2), max_size=2),
    },
)
BAD = [
    b"{}",
    b"null",
    b"[]",
    b"-1.5e3",
    b'"{"',
    b'{"instruction": "a"}',
    b'{"instruction": "a", "output": null}',
    b'{"instruction": "a", "output": ["}"]}',
    b'{"instruction": "a", "output": "\\ud83d"}',
    b'{"instruction": "a", "output": "\\u0000"}',
    b'{"instruction": "a", "output": "\xff"}',
    b'{"instruction": "a", "output": NaN}',
    b'{"instruction": "a", "instruction": "a", "output": "b"}',
    b'{"instruction": "a", "output": "b",}',
    b"{'instruction': 'a', 'output': 'b'}",
    b'{"instruction": "a" "output": "b"}',
    b'{"instruction": "a", "output": None}',
    b'{"instruction": "a\tb", "output": "b"}',
    b'{"instruction": "\\x", "output": "]"}',
    b"[" * 1_100 + b"]" * 1_100,
]
BAD_LINES = [
    b"a",
    b"a,b,c,d,e",
    b'"a"b,c,d,e',
    b'"",b,c,d',
    b"a, ,c,d",
    b"a,\xff,c,d",
    b"a,\0,c,d",
    b'a,b,c,"{"',
]
BAD_VALUES = [
    {"instruction": None},
    {"output": None},
    {"instruction": " ", "output": ""},
    {"output": "\0"},
    {"input": "\0"},
    {"history": [["a"]]},
    {"history": [["a", None]]},
]
full_rows = st.fixed_dictionaries(
    {
        "instruction": solid,
        "output": solid,
        "input": text,
        "history": st.lists(st.lists(text, min_size=2, max_size=2), min_size=1, max_size=2),
    }
)
mixes = st.lists(st.one_of(good_rows, st.sampled_from(BAD)), min_size=1, max_size=12)


def encode(row: dict | bytes, *, is_ascii: bool, indent: int | None = None) -> bytes:
    if isinstance(row, bytes):
        return row
    return json.dumps(row, ensure_ascii=is_ascii, indent=indent).encode()


def judge(content: bytes) -> tuple[dict, list[dict]]:
    with tempfile.TemporaryDirectory() as folder:
        upload = Path(folder, "upload")
        upload.write_bytes(content)
        report = check(upload, Path(folder), declared="auto", max_row_chars=5_000)
        rows = Path(folder, "rows.jsonl").read_bytes().splitlines()
    return report, [json.loads(row) for row in rows]


def assert_exact(mix: list[dict | bytes], content: bytes) -> None:
    report, rows = judge(content)
    errors = [p for p in report["problems"] if p["severity"] == "error"]
    assert {p["row"] for p in errors} == {i for i, row in enumerate(mix) if isinstance(row, bytes)}
    assert rows == [row for row in mix if isinstance(row, dict)]
    assert report["num_rows"] == len(mix)


@settings(max_examples=150, deadline=None)
@given(mixes, st.booleans(), st.sampled_from([b"\n", b"\r\n"]))
def test_exactly_the_bad_lines_are_told(mix, is_ascii, line_end):
    # A first line that opens a bracket would make it an array.
    mix = [{"instruction": "a", "output": "b"}, *mix]
    assert_exact(mix, line_end.join(encode(row, is_ascii=is_ascii) for row in mix))


@settings(max_examples=150, deadline=None)
@given(mixes, st.booleans(), st.sampled_from([None, 2]), st.sampled_from([b",", b" ,\n", b",\r\n"]))
def test_exactly_the_bad_items_of_an_array_are_told(mix, is_ascii, indent, comma):
    items = [encode(row, is_ascii=is_ascii, indent=indent) for row in mix]
    assert_exact(mix, b"[" + comma.join(items) + b"]")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(full_rows, st.sampled_from(BAD_LINES)), min_size=1, max_size=12))
def test_exactly_the_bad_rows_of_a_csv_are_told(mix):
    content = b"instruction,output,input,history\r\n"
    assert_exact(mix, content + b"".join(as_csv(row) for row in mix))


def as_csv(row: dict | bytes) -> bytes:
    if isinstance(row, bytes):
        return row + b"\n"
    written = io.StringIO(newline="")
    cells = [row[name] for name in ("instruction", "output", "input")]
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow([*cells, json.dumps(row["history"])])
    return written.getvalue().encode()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(full_rows, st.sampled_from([None, *BAD_VALUES])), min_size=1, max_size=12),
    st.sampled_from([1, 3, 100]),
    st.booleans(),
)
def test_exactly_the_bad_rows_of_a_parquet_file_are_told(pairs, group, is_dictionary):
    mix = [row if bad is None else b"" for row, bad in pairs]
    rows = [{**row, **(bad or {})} for row, bad in pairs]
    assert_exact(mix, parquet(rows, row_group_size=group, use_dictionary=is_dictionary))


@settings(max_examples=100, deadline=None)
@given(mixes, st.sampled_from(["lines", "array"]), st.integers(0, 9))
def test_exactly_the_bad_rows_inside_a_gzip_are_told(mix, form, level):
    mix = [{"instruction": "a", "output": "b"}, *mix]
    rows = [encode(row, is_ascii=False) for row in mix]
    content = b"\n".join(rows) if form == "lines" else b"[" + b",\n".join(rows) + b"]"
    half = len(content) // 2
    members = [gzip.compress(each, level) for each in (content[:half], content[half:])]
    assert_exact(mix, b"".join(members))


class Dripping(io.BytesIO):
    """Returns a few bytes per read, so that reads end in many places."""

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(min(size or 0, 7))


@settings(max_examples=100, deadline=None)
@given(mixes)
def test_where_a_read_ends_makes_no_difference(mix):
    content = b"[" + b",\n".join(encode(row, is_ascii=False, indent=1) for row in mix) + b"]"

    assert found(Dripping(content)) == found(io.BytesIO(content))


def found(file: io.BytesIO) -> list:
    items = read_values(file, 5_000, is_array=file.getvalue()[:1] == b"[")
    return [(i.line, i.value, i.fault and i.fault.code, i.is_row) for i in items]


def test_memory_does_not_grow_with_the_file():
    """Two thousand rows of 10 kB are never all in memory."""
    row = b'{"instruction": "a", "output": "' + b"x" * 10_000 + b'"}'
    content = io.BytesIO(b"[" + b",".join([row] * 2_000) + b"]")
    window = max(len(found.text) for found in read_values(content, 100_000, is_array=True))
    assert window == len(row)


SEEDS = [
    b'[{"instruction": "a\\u00e4", "input": null, "output": "b"}, {"text": "t", "x": [1, {}]}]',
    b'{"instruction": "a", "output": "b", "history": [["c", "d"]]}\n{"instruction": 1}\n',
    b'{\n "instruction": "a",\n "output": "b"\n}\n// {\n{"output": "\xf0\x9f\x98\x80"}',
]
PIECES = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\n",
    b"\0",
    b"\xff",
    b"'",
    b"//",
    b"/*",
    b"NaN",
]


def mutate(seed: int) -> bytes:
    chance = random.Random(seed)
    content = bytearray(chance.choice(SEEDS) * chance.randint(1, 3))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(content) + 1)
        span = chance.choice([0, 0, 1, 5])
        content[at : at + span] = chance.choice([*PIECES, b"", bytes([chance.randrange(256)])])
    return bytes(content)


def test_a_mutated_file_never_breaks_the_check():
    for seed in range(1_000):
        content = mutate(seed)
        report, rows = judge(content)
        assert len(rows) == report["num_valid_rows"] <= report["num_rows"], seed
        assert report["status"] == "invalid" or rows, seed
        assert found(Dripping(content)) == found(io.BytesIO(content)), seed


@pytest.mark.parametrize(
    "content", [b"\n", b"{", b"[", b'"', b"]", b"}", b",", b"[,]", b"[]]", b"[[", b"/*"]
)
def test_readers_end_on_stubs(content):
    assert len(list(read_lines(io.BufferedReader(io.BytesIO(content)), 10))) <= 2
    for is_array in (True, False):
        assert len(list(read_values(io.BytesIO(content), 10, is_array=is_array))) <= 3
