"""The progress of a check, and how many of its problems are stored."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from app.core.datasets.checking import progress, report
from app.core.datasets.checking.check import check
from app.core.datasets.validate import validate_in_child
from app.core.settings import Settings
from tests.core.datasets.malformed import GOOD, lines
from tests.core.datasets.packed import parquet

pytestmark = pytest.mark.slow


def as_lines(rows: list[dict]) -> bytes:
    return lines(*(json.dumps(row).encode() for row in rows))


def gzipped(rows: list[dict]) -> bytes:
    return gzip.compress(as_lines(rows))


@pytest.mark.parametrize("pack", [as_lines, gzipped, parquet])
def test_at_the_end_the_fraction_is_one(pack, tmp_path):
    rows = [{"instruction": f"{n}", "output": "b" * 100} for n in range(500)]
    upload = tmp_path / "upload"
    upload.write_bytes(pack(rows))

    check(upload, tmp_path, declared="auto", max_row_chars=1_000, progress_seconds=0)

    told = progress.read(tmp_path / "progress.json")
    assert told is not None
    assert told["fraction"] == 1
    assert told["rows"] in (499, 500)


def test_a_check_tells_how_far_it_is_while_it_runs(tmp_path):
    row = json.dumps({"instruction": "a", "output": "b" * 200}).encode()
    (tmp_path / "upload").write_bytes(lines(*[row] * 250_000))
    out, told = tmp_path / "out", []

    with ThreadPoolExecutor() as pool:
        verdict = pool.submit(validate_in_child, tmp_path / "upload", out, Settings())
        while not wait([verdict], timeout=0.05).done:
            told.append(progress.read(out / "progress.json"))

    seen = [(each["fraction"], each["rows"]) for each in told if each]
    assert verdict.result().is_ready
    assert seen
    assert seen == sorted(seen)
    assert 0 < seen[0][0] < 1
    assert 0 < seen[0][1] < 250_000


def test_what_is_no_progress_is_none(tmp_path):
    path = tmp_path / "progress.json"
    assert progress.read(path) is None
    for text in ("", "{", "[]", "{}", '{"fraction": "x", "rows": 1}', "null"):
        path.write_text(text)
        assert progress.read(path) is None


def test_a_list_that_is_too_long_says_where_it_ends(tmp_path):
    with (tmp_path / "problems.jsonl").open("wb") as stored:
        problems = report.Problems(stored, max_stored=20_000)
        for row in range(2_000):
            problems.add("output_empty", "`output` is empty.", row=row, line=row + 1)
        problems.end()

    *kept, mark = map(json.loads, (tmp_path / "problems.jsonl").read_bytes().splitlines())
    assert [each["row"] for each in kept] == list(range(len(kept)))
    assert 50 < len(kept) == problems.num_stored < 200
    assert (mark["code"], mark["severity"]) == ("problems_truncated", "warning")
    assert mark["message"] == f"The list ends here, after {len(kept)} of about 2,000 problems."
    assert (tmp_path / "problems.jsonl").stat().st_size <= 20_000
    made = report.as_dict("jsonl", "", 2_000, problems, report.Profile())
    assert made["problems_stored"] == {"count": len(kept), "complete": False}
    assert made["problem_counts"] == {"output_empty": 2_000}


def test_every_bad_row_is_kept_where_the_report_ends(tmp_path):
    upload = tmp_path / "upload"
    upload.write_bytes(lines(GOOD, *[b"[]"] * 5_000))

    made = check(upload, tmp_path, declared="auto", max_row_chars=1_000)

    kept = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_bytes().splitlines()]
    assert [each["line"] for each in kept] == list(range(2, 5_002))
    assert kept[: len(made["problems"])] == made["problems"]
    assert made["problems_stored"] == {"count": 5_000, "complete": True}
