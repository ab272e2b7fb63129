"""Every accepted form of a row becomes the canonical one."""

import json

import pytest

from app.core.datasets.check import check
from app.core.datasets.shapes import form_of

PAIR = {"instruction": "a", "output": "b"}
SILENT = {"role": "assistant", "content": "y", "weight": 0}
FORMS = [
    ("alpaca", PAIR, PAIR),
    ("prompt_completion", {"prompt": "a", "completion": "b"}, PAIR),
    ("text", {"text": "t"}, {"text": "t"}),
    (
        "messages",
        {
            "messages": [
                {"role": "developer", "content": "s"},
                {"role": "user", "content": [{"type": "text", "text": "x"}]},
                SILENT,
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b", "weight": 1},
            ]
        },
        {**PAIR, "system": "s", "history": [["x", "y"]]},
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        PAIR,
    ),
]


def run(tmp_path, *rows):
    upload = tmp_path / "upload"
    upload.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = check(upload, tmp_path, declared="auto", max_row_chars=100_000)
    kept = (tmp_path / "rows.jsonl").read_text().splitlines()
    return report, [json.loads(row) for row in kept]


@pytest.mark.parametrize(("form", "given", "canonical"), FORMS)
def test_every_form_becomes_the_canonical_row(form, given, canonical, tmp_path):
    report, rows = run(tmp_path, given)

    assert (report["status"], report["row_format"]) == ("ready", form)
    assert rows == [canonical]
    assert report["row_format_reason"].startswith("1 of the first 1 rows have ")


@pytest.mark.parametrize(("form", "given", "canonical"), FORMS)
@pytest.mark.parametrize(("other", "stray", "_"), FORMS)
def test_a_row_of_another_form_is_bad_on_its_own(form, given, canonical, other, stray, _, tmp_path):
    if form == other:
        return
    report, rows = run(tmp_path, given, stray, given)

    assert report["row_format"] == form
    assert rows == [canonical, canonical]
    assert [(p["code"], p["row"]) for p in report["problems"] if p["severity"] == "error"] == [
        ("rows_mixed", 1)
    ]


def test_a_fault_in_a_conversation_points_at_the_message(tmp_path):
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]

    report, _ = run(tmp_path, FORMS[3][1], {"messages": messages})

    assert report["problems"][0]["pointer"] == "/1/messages/1/content"


def test_a_fault_in_a_pair_has_the_names_of_the_upload(tmp_path):
    report, _ = run(tmp_path, FORMS[1][1], {"prompt": "a", "completion": ""})

    [problem] = report["problems"]
    assert (problem["pointer"], problem["code"]) == ("/1/completion", "output_empty")
    assert problem["message"] == "`completion` is empty."


def test_a_row_that_nothing_tells_has_no_form():
    assert [form_of(value) for value in ({}, [], None, {"messages": "x"})] == [None] * 4
