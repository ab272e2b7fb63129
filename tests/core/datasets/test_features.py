"""Columns, types and number of rows are printed as the `datasets` library itself does."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.core.datasets.checking.check import check
from tests.core.datasets.malformed import ANSWER, ASK
from tests.core.datasets.packed import parquet

datasets = pytest.importorskip("datasets")

ALPACA = [
    {"instruction": "a", "input": "", "output": "b", "text": "t"},
    {"instruction": "c", "input": "d", "output": "e", "text": "u"},
]
TYPES: list[dict[str, Any]] = [
    {
        "instruction": "a",
        "output": "b",
        "n": 1,
        "f": 1,
        "b": True,
        "z": None,
        "day": "2024-05-01",
        "mixed": 0,
    },
    {"instruction": "a", "output": "b", "n": 2, "f": 2.5, "b": False, "z": None, "day": "today"},
    {"output": "b", "late": 2**63, "instruction": "a", "mixed": 1, "at": "2024-05-01 10:00:00"},
    {"output": "b", "late": None, "instruction": "a", "mixed": "s", "at": "2024-05-02T10:00:00Z"},
]
NESTED: list[dict[str, Any]] = [
    {"messages": [ASK, ANSWER], "tags": [], "meta": {"id": 1, "source": None}, "odd": {"a": 1}},
    {"messages": [ASK, ANSWER], "tags": ["x"], "meta": {"id": 2, "source": "y"}, "odd": {"b": 1}},
]
WEIGHTS = [{"messages": [ASK, {**ANSWER, "weight": 1}]}]
HISTORY: list[dict[str, Any]] = [
    {"instruction": "a", "output": "b", "history": [], "score": [1, 2.5]},
    {"instruction": "a", "output": "b", "history": [["c", "d"]], "score": None},
]
CSV = (
    "instruction,output,id,score,is_good,nothing,day,code,gaps\n"
    "a,b,1,1.5,True,,2024-05-01,007,1\n"
    '"c, d",e,2,2,False,,2024-05-02,8x,\n'
)
ROWS: dict[str, list[dict[str, Any]]] = {
    "alpaca": ALPACA, "types": TYPES, "nested": NESTED, "weights": WEIGHTS, "history": HISTORY,
}  # fmt: skip


def lines(rows: list[dict]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


FILES = {
    **{f"{name}.json": json.dumps(rows, indent=1).encode() for name, rows in ROWS.items()},
    **{f"{name}.jsonl": lines(rows) for name, rows in ROWS.items()},
    "pairs.csv": CSV.encode(),
    "alpaca.parquet": parquet(ALPACA),
    "messages.parquet": parquet([NESTED[0], {**NESTED[1], "odd": {"a": 2}}]),
    "history.parquet": parquet(HISTORY),
    "bytes.parquet": parquet([{**ALPACA[0], "image": b"x", "size": 1.5}]),
}


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


@pytest.mark.parametrize("name", FILES)
def test_an_upload_is_told_as_the_library_tells_it(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(FILES[name])

    told = check(path, tmp_path, declared="auto", max_row_chars=10_000)["as_uploaded"]

    theirs = load(path)
    assert told["features"] == {key: repr(kind) for key, kind in theirs.features.items()}
    assert told["num_rows"] == theirs.num_rows
    assert told["printed"] == repr(theirs)


def load(path: Path):
    kind = path.suffix[1:].replace("jsonl", "json")
    return datasets.load_dataset(
        kind, data_files=str(path), split="train", cache_dir=str(path.parent / "cache")
    )


def test_a_column_of_thousands_of_kinds_is_told_in_few_words(tmp_path):
    rows = [{**ALPACA[0], f"c{n}": n, "deep": {f"k{n}": [n]}} for n in range(3_000)]
    path = tmp_path / "upload"
    path.write_bytes(lines(rows))

    told = check(path, tmp_path, declared="auto", max_row_chars=10_000)["as_uploaded"]

    assert len(told["features"]) <= 1_000
    assert told["features"]["deep"] == "Json(decode=True)"
