"""A column that changes what a row means is refused or counted, never dropped without a word."""

import json
from typing import Any

import pytest

from tests.core.datasets.test_real_files import jq, judge
from tests.core.datasets.test_shapes import mapped, run
from tests.core.datasets.test_tool_rows import TOOL

PAIR = {"instruction": "a", "output": "b"}
CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def warnings(report) -> dict[str, str]:
    return {p["code"]: p["message"] for p in report["problems"] if p["severity"] == "warning"}


def errors(report) -> list[tuple[str, str]]:
    return [(p["pointer"], p["code"]) for p in report["problems"] if p["severity"] == "error"]


def test_half_of_the_rows_of_kto_data_are_bad_answers(tmp_path):
    rows = [{"prompt": f"a{n}", "completion": "b", "label": n % 2 == 0} for n in range(300)]

    report, kept = run(tmp_path, *rows)

    assert (report["status"], len(kept)) == ("invalid", 150)
    assert report["problem_counts"] == {
        "answer_unwanted": 150,
        "label_false": 150,
        "column_ignored": 150,
    }
    assert errors(report)[0] == ("/1/label", "answer_unwanted")
    assert warnings(report)["label_false"] == (
        "150 of 300 rows have `label` false: bad answers would be trained as good. These rows are "
        "refused."
    )


@pytest.mark.parametrize(
    "bad",
    [
        {**PAIR, "kto_tag": False},
        {"messages": CHAT, "label": False},
        {**PAIR, "kto_tag": 0},
        {"text": "t", "label": "False"},
    ],
)
def test_a_bad_answer_is_refused_in_every_format(bad, tmp_path):
    report, rows = run(tmp_path, bad)

    [name] = bad.keys() & {"label", "kto_tag"}
    assert errors(report) == [(f"/0/{name}", "answer_unwanted")]
    assert rows == []


def test_a_label_of_0_is_counted_and_other_labels_are_columns_as_any(tmp_path):
    labels: list[Any] = [0, 1, "spam", None, True, [0]]

    report, rows = run(tmp_path, *({**PAIR, "label": label} for label in labels))

    assert len(rows) == 6
    assert report["problem_counts"]["label_ignored"] == 1
    assert warnings(report)["label_ignored"].startswith("1 of 6 rows have `label` 0, which is not")


def test_a_mapped_label_is_the_answer(tmp_path):
    report, rows = mapped(tmp_path, {"output": "label"}, {"instruction": "a", "label": "false"})

    assert rows == [{"instruction": "a", "output": "false"}]
    assert report["problem_counts"] == {}


PREFERENCES: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "a"}, '{"instruction":"prompt","output":"chosen"}'),
    ({"instruction": "a"}, '{"instruction":"instruction","output":"chosen"}'),
    ({"question": "a", "id": 1}, '{"instruction":"question","output":"chosen"}'),
    ({}, '{"text":"chosen"}'),
]


@pytest.mark.parametrize(("prompt", "hint"), PREFERENCES)
def test_preference_data_is_named_and_its_hint_works(prompt, hint, tmp_path):
    row = {**prompt, "chosen": "b", "rejected": "c"}

    report, rows = run(tmp_path, row)

    assert (errors(report), rows) == ([("/0", "preference_data")], [])
    [problem] = [p for p in report["problems"] if p["severity"] == "error"]
    assert "DPO" in problem["message"]
    assert problem["hint"].endswith(f" columns={hint}")
    again, rows = mapped(tmp_path, json.loads(hint), row)
    assert again["status"] == "ready"
    assert rows == [PAIR if prompt else {"text": "b"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": CHAT[:1], "chosen": CHAT[1:], "rejected": CHAT[1:]},
        {"conversations": CHAT[:1], "chosen": CHAT[1], "rejected": CHAT[1]},
        {"chosen": CHAT, "rejected": CHAT},
    ],
)
def test_preference_data_of_messages_has_a_hint_that_works(row, tmp_path):
    report, _ = run(tmp_path, row)

    [hint] = [p["hint"] for p in report["problems"] if p["code"] == "preference_data"]
    if "columns=" in hint:
        _, rows = mapped(tmp_path, json.loads(hint.partition("columns=")[2]), row)
    else:
        rows = judge(tmp_path, jq(hint, json.dumps([row])))[1]
    assert rows == [PAIR]


def test_a_worse_answer_beside_the_answer_is_counted(tmp_path):
    report, rows = run(tmp_path, {**PAIR, "rejected": "c"}, PAIR, {**PAIR, "rejected": "d"})

    assert len(rows) == 3
    assert report["problem_counts"] == {"preference_ignored": 2, "duplicate_rows": 1}
    assert warnings(report)["preference_ignored"] == (
        "2 of 3 rows have `rejected`, which is not read: only the answer is trained."
    )


@pytest.mark.parametrize("name", ["images", "audios", "videos", "image"])
def test_media_is_counted_and_refused_where_the_text_needs_it(name, tmp_path):
    kind = name.rstrip("s")
    needs = {"messages": [{"role": "user", "content": f"<{kind}>What is it?"}, CHAT[1]]}

    report, rows = run(tmp_path, {**needs, name: ["a.png"]}, {"messages": CHAT, name: ["a.png"]})

    assert rows == [PAIR]
    assert errors(report) == [(f"/0/{name}", "media_unsupported")]
    assert warnings(report)["media_ignored"].startswith(f"1 of 2 rows have `{name}`, which is not")
    assert report["problem_counts"] == {"media_unsupported": 1, "media_ignored": 1}


@pytest.mark.parametrize("text", ["<|image_pad|>", "<|image_1|>", "<image_soft_token>"])
def test_placeholders_have_many_spellings(text, tmp_path):
    report, _ = run(tmp_path, {**PAIR, "input": f"See {text}.", "images": ["a.png"]})

    assert errors(report) == [("/0/images", "media_unsupported")]


def test_no_images_and_a_tag_in_a_text_are_nothing(tmp_path):
    report, rows = run(
        tmp_path, {**PAIR, "input": "<image> is a tag of SVG."}, {"images": [], **PAIR}
    )

    assert len(rows) == 2
    assert report["problem_counts"] == {"column_ignored": 1}


def test_tools_beside_a_text_are_counted(tmp_path):
    report, rows = run(tmp_path, {"text": "t", "tools": [TOOL]}, {"text": "u", "tools": []})

    assert len(rows) == 2
    assert warnings(report)["tools_ignored"].startswith(
        "1 of 2 rows have `tools`, which is not read"
    )


def test_labels_of_parquet_are_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from app.core.datasets.checking.check import check

    path = tmp_path / "upload"
    columns = {"prompt": ["a", "a"], "completion": ["b", "c"], "label": [True, False]}
    pq.write_table(pa.table({**columns, "images": [[b"x"], None]}), path)

    report = check(path, tmp_path, declared="auto", max_row_chars=1000)

    assert errors(report) == [("/1/label", "answer_unwanted")]
