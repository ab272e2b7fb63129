"""Every accepted row format is converted to the canonical one."""

import json
from typing import Any

import pytest

from app.core.datasets.checking.check import check
from app.core.datasets.checking.shapes import form_of

PAIR = {"instruction": "a", "output": "b"}
SILENT = {"role": "assistant", "content": "y", "weight": 0}
FORMS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
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
    values: list[Any] = [{}, [], None, {"a": "x"}]

    assert [form_of(value) for value in values] == [None] * 4


@pytest.mark.parametrize("cell", [None, "x", 3, {}])
def test_a_conversation_that_is_no_list_is_told_as_such(tmp_path, cell):
    report, _ = run(tmp_path, {"messages": cell}, {"messages": cell})

    assert report["row_format_reason"] == "2 of the first 2 rows have `messages`."
    problem = report["problems"][0]
    assert (problem["code"], problem["pointer"]) == ("messages_invalid", "/0/messages")
    assert problem["message"].endswith("not a list of messages.")


def mapped(tmp_path, columns, *rows):
    upload = tmp_path / "upload"
    upload.write_text(json.dumps(rows))
    report = check(upload, tmp_path, declared="auto", max_row_chars=100_000, columns=columns)
    kept = (tmp_path / "rows.jsonl").read_text().splitlines()
    return report, [json.loads(row) for row in kept]


MAPPED = [
    ({"instruction": "q"}, {"q": "a", "output": "b"}, PAIR, set()),
    ({"instruction": "input", "output": "o"}, {"input": "a", "o": "b"}, PAIR, set()),
    (
        {"output": "answer"},
        {"instruction": "a", "output": "x", "answer": "b"},
        PAIR,
        {"column_ignored"},
    ),
    (
        {"input": "context"},
        {"prompt": "a", "completion": "b", "context": "c", "input": "d"},
        {**PAIR, "input": "c"},
        {"column_ignored"},
    ),
    (
        {"text": "body"},
        {"body": "t", "instruction": "x"},
        {"text": "t"},
        {"text_only", "column_ignored"},
    ),
    (
        {"messages": "dialog", "system": "persona"},
        {"persona": "s", "dialog": FORMS[4][1]["conversations"]},
        {**PAIR, "system": "s"},
        set(),
    ),
]


@pytest.mark.parametrize(("columns", "given", "canonical", "codes"), MAPPED)
def test_a_mapping_goes_before_what_the_rows_look_like(columns, given, canonical, codes, tmp_path):
    report, rows = mapped(tmp_path, columns, given)

    assert rows == [canonical]
    assert set(report["problem_counts"]) == codes


def test_a_mapped_column_that_is_missing_is_named_as_the_upload_names_it(tmp_path):
    columns = {"instruction": "q/a", "output": "b"}

    report, _ = mapped(tmp_path, columns, {"q/a": "x", "b": "y"}, {"question": "x", "b": "y"})

    [problem] = [p for p in report["problems"] if p["severity"] == "error"]
    assert (problem["pointer"], problem["code"]) == ("/1/q~1a", "field_missing")
    assert problem["hint"].endswith(' columns={"output":"b","instruction":"question"}')


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ({"Question ": "a", "ANSWER": "b"}, '{"instruction":"Question ","output":"ANSWER"}'),
        ({"instruction": "a", "reply": "b"}, '{"output":"reply"}'),
        ({"input": "a", "output": "b"}, '{"instruction":"input"}'),
        ({"dialog": [], "id": 1}, '{"messages":"dialog"}'),
        ({"content": "a", "id": 1}, '{"text":"content"}'),
        ({"task": "a", "id": 1}, '{"instruction":"task","output":"..."}'),
        ({"a": 1, "b\n": 2}, '{"instruction":"...","output":"..."}'),
    ],
)
def test_a_missing_column_comes_with_the_mapping_to_send(row, hint, tmp_path):
    report, _ = mapped(tmp_path, None, row)

    [told, *_] = [p for p in report["problems"] if p["code"] == "field_missing"]
    assert told["hint"].endswith(f" columns={hint}")


def test_prompts_and_completions_may_be_messages(tmp_path):
    halves = {"prompt": FORMS[3][1]["messages"][:4], "completion": FORMS[3][1]["messages"][4:]}

    report, rows = run(tmp_path, halves, {**halves, "completion": [SILENT, SILENT]})

    assert rows == [FORMS[3][2]]
    [problem] = report["problems"]
    assert (problem["pointer"], problem["code"]) == ("/1/completion/1", "roles_not_alternating")


@pytest.mark.parametrize("bad", ["\0", "\ud800"])
def test_a_character_that_is_no_text_is_told_where_the_upload_has_it(bad, tmp_path):
    pair, chat = {"prompt": "a", "completion": bad + "b"}, dict(FORMS[4][1])
    chat["conversations"] = [chat["conversations"][0], {"from": "gpt", "value": bad + "b"}]

    of_pair, _ = run(tmp_path, pair)
    of_chat, _ = run(tmp_path, chat)

    assert of_pair["problems"][0]["pointer"] == "/0/completion"
    assert of_chat["problems"][0]["pointer"] == "/0/conversations/1"


def test_a_system_text_may_stand_beside_the_messages_but_not_twice(tmp_path):
    beside = {"system": "s", "messages": FORMS[3][1]["messages"][1:]}

    report, rows = run(tmp_path, beside, {**FORMS[3][1], "system": "s"})

    assert rows == [FORMS[3][2]]
    assert [(p["pointer"], p["code"]) for p in report["problems"]] == [
        ("/1/system", "messages_invalid")
    ]


def test_a_column_that_a_conversation_does_not_use_is_told(tmp_path):
    report, _ = run(tmp_path, {**FORMS[4][1], "text": "t", "input": "x"})

    assert report["problem_counts"] == {"column_ignored": 2}
