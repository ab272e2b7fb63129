"""Several files as one dataset: rows are numbered across them, a problem names its file."""

import gzip
import json
from pathlib import Path

import pytest

from app.core.datasets.reading.sources import Upload
from app.core.datasets.validate import Limits, Verdict, validate_in_child
from app.core.settings import Settings
from tests.core.datasets.malformed import ALSO, GOOD, array, lines
from tests.core.datasets.packed import ROWS, parquet

MORE = b'{"instruction": "e", "output": "f"}'
CSV = b"instruction,output\n"


def judge(tmp_path: Path, *contents: bytes, limits: Limits | None = None) -> tuple[Verdict, dict]:
    files = []
    for number, content in enumerate(contents):
        path = tmp_path / f"{number:05}"
        path.write_bytes(content)
        files.append(Upload(path, f"data/train-{number}"))
    verdict = validate_in_child(files, tmp_path / "out", Settings(), limits=limits)
    return verdict, json.loads((tmp_path / "out" / "report.json").read_bytes())


def rows_of(tmp_path: Path) -> list[dict]:
    stored = (tmp_path / "out" / "rows.jsonl").read_bytes().splitlines()
    return [json.loads(line) for line in stored]


def told(report: dict) -> list[tuple]:
    return [(p["code"], p["row"], p["line"], p["file"]) for p in report["problems"]]


@pytest.mark.parametrize(
    "contents",
    [
        (lines(GOOD), lines(ALSO)),
        (array(GOOD), array(ALSO)),
        (CSV + b"a,b\n", b"output,instruction\nd,c\n"),
        (parquet(ROWS[:1]), parquet(ROWS[1:])),
        (gzip.compress(lines(GOOD)), gzip.compress(lines(ALSO))),
        (gzip.compress(lines(GOOD)), lines(ALSO)),
    ],
)
def test_the_rows_of_one_file_follow_those_of_the_other(contents, tmp_path):
    verdict, report = judge(tmp_path, *contents)

    assert (verdict.is_ready, verdict.num_rows) == (True, 2)
    assert rows_of(tmp_path) == ROWS
    assert report["as_uploaded"]["num_rows"] == 2


def test_a_problem_says_in_which_file_it_is(tmp_path):
    _, report = judge(tmp_path, lines(GOOD, b"{}"), lines(ALSO), lines(MORE, b"[]", b"nonsense"))

    assert told(report) == [
        ("field_missing", 1, 2, "data/train-0"),
        ("field_missing", 1, 2, "data/train-0"),
        ("not_an_object", 4, 2, "data/train-2"),
        ("json_invalid", 5, 3, "data/train-2"),
    ]
    assert [p["pointer"] for p in report["problems"]][-1] == "/5"
    assert (report["num_rows"], report["num_valid_rows"]) == (6, 3)


def test_a_file_alone_is_not_named(tmp_path):
    _, report = judge(tmp_path, lines(GOOD, b"[]"))

    assert told(report) == [("not_an_object", 1, 2, None)]


def test_a_file_that_cannot_be_read_spoils_no_other(tmp_path):
    whole = parquet(ROWS[:1])

    verdict, report = judge(tmp_path, whole, whole[:-3], b"", parquet(ROWS[1:]))

    assert told(report) == [
        ("parquet_invalid", None, 1, "data/train-1"),
        ("file_empty", None, 1, "data/train-2"),
    ]
    assert not verdict.is_ready
    assert rows_of(tmp_path) == ROWS


def test_files_of_several_formats_are_told(tmp_path):
    verdict, report = judge(tmp_path, lines(GOOD), CSV + b"c,d\n")

    assert told(report) == [("files_mixed", None, 1, "data/train-1")]
    assert (verdict.is_ready, verdict.format) == (False, "jsonl")
    assert rows_of(tmp_path) == ROWS


def test_the_form_of_the_first_rows_is_that_of_all_files(tmp_path):
    _, report = judge(tmp_path, lines(*[GOOD] * 200), lines(b'{"text": "t"}'))

    errors = [p for p in report["problems"] if p["severity"] == "error"]
    assert [(p["code"], p["row"], p["file"]) for p in errors] == [
        ("rows_mixed", 200, "data/train-1")
    ]


def test_a_copy_in_another_file_is_found(tmp_path):
    _, report = judge(tmp_path, lines(GOOD), lines(ALSO), lines(GOOD))

    assert report["duplicates"] == {"exact": 1, "examples": [[0, 2]]}
