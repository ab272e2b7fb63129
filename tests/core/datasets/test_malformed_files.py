"""What is reported for each kind of broken upload: code, line and the number of valid rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.core.datasets.checking.check import check
from app.core.datasets.checking.codes import CODES
from app.core.datasets.checking.notes import COUNTED
from tests.core.datasets import malformed, packed
from tests.core.datasets.malformed import ALSO, GOOD, array, lines

FILES: dict[str, tuple[bytes, Any, int]] = {**malformed.FILES, **packed.FILES}
HARMLESS: dict[str, tuple[bytes, set[str]]] = {**malformed.HARMLESS, **packed.HARMLESS}


def run(tmp_path: Path, content: bytes, declared: str = "auto") -> dict:
    upload = tmp_path / "upload"
    upload.write_bytes(content)
    return check(upload, tmp_path, declared=declared, max_row_chars=100_000)


def rows_of(tmp_path: Path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "rows.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_told_what_and_where(name, tmp_path):
    content, expected, num_good = FILES[name]

    report = run(tmp_path, content)

    told = [p for p in report["problems"] if p["severity"] != "info"]
    assert [(p["code"], p["line"]) for p in told] == expected
    assert report["num_valid_rows"] == len(rows_of(tmp_path)) == num_good
    assert all(p["hint"] and p["message"] and len(p["snippet"]) <= 200 for p in told)
    is_bad = any(CODES[code].severity == "error" for code, _ in expected)
    assert report["status"] == ("invalid" if is_bad else "ready")


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_oddity_is_noted_and_kept(name, tmp_path):
    content, expected = HARMLESS[name]

    report = run(tmp_path, content)

    assert set(report["problem_counts"]) == expected
    assert (report["status"], report["num_rows"], report["num_valid_rows"]) == ("ready", 2, 2)


def test_a_row_without_its_end_spoils_no_other(tmp_path):
    report = run(
        tmp_path, b'[\n{"instruction": "x", "output": "b",\n' + GOOD + b",\n" + ALSO + b"\n]"
    )

    assert [(p["code"], p["line"]) for p in report["problems"]] == [("json_invalid", 3)]
    assert rows_of(tmp_path) == [json.loads(GOOD), json.loads(ALSO)]


def test_a_problem_has_row_pointer_and_snippet(tmp_path):
    report = run(tmp_path, array(GOOD, b'{"instruction": "a\\u0007", "output": 3}'))

    [problem] = report["problems"]
    assert (problem["row"], problem["line"], problem["pointer"]) == (1, 3, "/1/output")
    assert problem["snippet"].startswith('{"instruction"')
    assert problem["severity"] == "error"


def test_a_snippet_never_holds_a_control_character(tmp_path):
    report = run(
        tmp_path, lines(b'{"instruction": "\x1b[31m\x00\xc2\x9b\xe2\x80\xae", "output": "b"}')
    )

    assert all(p["snippet"].isprintable() for p in report["problems"])


def test_the_offset_of_a_bad_byte_is_that_of_the_file(tmp_path):
    content = b"\xef\xbb\xbf" + array(GOOD, b'{"output": "\xc3\xa4\xff"}')

    report = run(tmp_path, content)

    message = next(p["message"] for p in report["problems"] if p["code"] == "not_utf8")
    assert f"offset {content.index(0xFF)} " in message


def test_names_of_other_formats_are_recognised(tmp_path):
    report = run(tmp_path, lines(b'{"Instruction": "a", "response": "b"}'))

    hints = {p["hint"] for p in report["problems"] if p["code"] == "field_missing"}
    columns = 'columns={"instruction":"Instruction","output":"response"}'
    assert hints == {f"Send this field with the file: {columns}"}


def test_the_list_of_problems_ends_and_the_counts_go_on(tmp_path):
    report = run(tmp_path, lines(*[b"{}"] * 2_000))

    assert len(report["problems"]) <= 1_000
    assert report["problems_truncated"] is True
    assert report["problem_counts"]["field_missing"] == 4_000


def test_thousands_of_unknown_columns_do_not_fill_the_report(tmp_path):
    row = {"instruction": "a", "output": "b"}
    rows = [json.dumps({**row, f"c{i}": 1}).encode() for i in range(3_000)]

    report = run(tmp_path, lines(*rows))

    assert len(report["problems"]) <= 110
    assert report["problem_counts"]["column_ignored"] == 3_000


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("auto", []),
        ("jsonl", []),
        ("json", ["format_mismatch"]),
        ("csv", ["format_mismatch"]),
        ("xlsx", ["format_mismatch"]),
    ],
)
def test_the_bytes_decide_when_a_named_format_is_another(declared, expected, tmp_path):
    report = run(tmp_path, lines(GOOD), declared)

    assert [p["code"] for p in report["problems"]] == expected
    assert (report["status"], report["format"]) == ("ready", "jsonl")


def test_every_code_has_a_test():
    tested = {code for _, expected, _ in FILES.values() for code, _ in expected}
    tested |= {code for _, codes in HARMLESS.values() for code in codes}

    elsewhere = {code for code in CODES if code.startswith(("validator_", "hub_"))}
    elsewhere |= {"format_mismatch", "duplicates_partial", "unpacked_too_large"}
    elsewhere |= {"problems_truncated", "files_mixed"}
    elsewhere |= COUNTED | {"answer_unwanted", "preference_data", "media_unsupported"}
    assert CODES.keys() - tested == elsewhere


@pytest.mark.parametrize(
    ("num_copies", "said"), [(1, "1 row is an exact copy: "), (2, "2 rows are exact copies: ")]
)
def test_copies_are_counted_in_words_that_agree(tmp_path, num_copies, said):
    report = run(tmp_path, lines(GOOD, *[GOOD] * num_copies))

    assert report["problems"][0]["message"].startswith(said)
