"""Files as people export them: following the hint must lead to a valid dataset."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.core.datasets.checking.check import check

CHAT = json.dumps([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
CELL = '"' + CHAT.replace('"', '""') + '"'
PAIR = {"instruction": "a", "output": "b"}


def judge(
    folder: Path, content: str | bytes, columns: dict[str, str] | None = None, declared="auto"
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    upload = folder / "upload"
    upload.write_bytes(content if isinstance(content, bytes) else content.encode())
    report = check(upload, folder, declared=declared, max_row_chars=100_000, columns=columns)
    rows = (folder / "rows.jsonl").read_text().splitlines()
    return report, [json.loads(row) for row in rows]


def hint_of(report: dict[str, Any]) -> str:
    return next(p["hint"] for p in report["problems"] if p["severity"] == "error")


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("Instruction,Input,Output\na,c,b\n", {**PAIR, "input": "c"}),
        ("question;context;answer\na;c;b\n", {**PAIR, "input": "c"}),
        ("System,Question,Answer\ns,a,b\n", {**PAIR, "system": "s"}),
        (f"id,conversation\n1,{CELL}\n", PAIR),
        ('{"input": "a", "output": "b"}\n', PAIR),
        ('{"instruction": "a", "context": "c", "response": "b"}\n', {**PAIR, "input": "c"}),
        (f'{{"dialog": {CHAT}}}\n', PAIR),
    ],
)
def test_a_suggested_mapping_that_is_sent_reads_the_whole_row(tmp_path, content, row):
    report, _ = judge(tmp_path, content)

    columns = json.loads(hint_of(report).partition("columns=")[2])
    again, rows = judge(tmp_path, content, columns)

    assert (again["status"], rows) == ("ready", [row])


@pytest.mark.parametrize(
    "content",
    [
        '{"version": "1.0", "data": [{"instruction": "a", "output": "b"}]}',
        '{"meta": {"v": 1},\n "examples": [{"instruction": "a", "output": "b"}]}',
        '{"x": {"instruction": "a", "output": "b"}}',
        '{"data": [{"instruction": "a", "output": "b"}]}',
    ],
)
def test_rows_inside_an_object_are_found_as_the_hint_says(tmp_path, content):
    report, _ = judge(tmp_path, content)

    path = hint_of(report).partition("jq ")[2].partition(" in > out")[0].strip("'")
    whole = json.loads(content)
    taken = list(whole.values()) if path == "[.[]]" else whole[path.removeprefix(".")]
    assert judge(tmp_path, json.dumps(taken))[1] == [PAIR]


ITEMS = [{"input": "c", "output": "b"}]
TWICE: list[tuple[Any, dict[str, Any]]] = [
    ({"instruction": "a", "instances": ITEMS}, {**PAIR, "input": "c"}),
    ({"instances": ITEMS, "instruction": "a"}, {**PAIR, "input": "c"}),
    ({"id": 7, "task": "a", "cases": ITEMS}, {**PAIR, "input": "c"}),
    (
        {"context": "c", "qas": [{"question": "a", "answer": "b", "response": ""}]},
        {**PAIR, "input": "c"},
    ),
    ({"instruction": "s", "rows": [{**PAIR}]}, {**PAIR, "system": "s"}),
    ({"system": "s", "rows": [{"prompt": "a", "completion": "b"}]}, {**PAIR, "system": "s"}),
    ({"instruction": "a", "question": "c", "answer": "b"}, {**PAIR, "input": "c"}),
    ({"instruction": "s", "dialog": json.loads(CHAT)}, {**PAIR, "system": "s"}),
    ({"system_prompt": "s", "conversation": json.loads(CHAT)}, {**PAIR, "system": "s"}),
]


@pytest.mark.parametrize(("value", "row"), TWICE)
@pytest.mark.parametrize("form", ["lines", "array"])
def test_hints_followed_to_the_end_lose_nothing(tmp_path, value, row, form):
    content = json.dumps(value) + "\n" if form == "lines" else json.dumps([value])
    columns: dict[str, str] = {}

    for _ in range(3):
        report, rows = judge(tmp_path, content, columns)
        if report["status"] == "ready":
            break
        hint = hint_of(report)
        if "columns=" in hint:
            columns = json.loads(hint.partition("columns=")[2])
        else:
            content = jq(hint, content)

    assert rows == [row]


def jq(hint: str, content: str) -> str:
    """Run the command of a hint."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed (Debian: apt-get install jq)")
    program = hint.partition("jq -c '")[2].partition("' in > out")[0]
    done = subprocess.run(
        ["jq", "-c", program], input=content, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ({"question": "a", "prompt": "c", "answer": "b"}, "`question`"),
        ({"question": "a", "answer": "b", "reply": "c"}, "`reply`"),
        ({"question": "a", "dialog": json.loads(CHAT)}, "`question`"),
    ],
)
def test_a_mapping_that_leaves_out_a_text_says_so(tmp_path, row, left):
    report, _ = judge(tmp_path, json.dumps(row) + "\n")

    assert f", which leaves out {left}: columns=" in hint_of(report)


@pytest.mark.parametrize("column", ["body", "dialog"])
def test_a_half_of_a_pair_is_not_given_up_for_a_text_or_a_conversation(tmp_path, column):
    value = "t" if column == "body" else json.loads(CHAT)

    report, _ = judge(tmp_path, json.dumps({"output": "b", column: value}) + "\n")

    assert hint_of(report).endswith('columns={"instruction":"..."}')


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_wide_file_is_good_once_it_was_converted_as_the_hint_says(tmp_path, encoding):
    content = "instruction,output\na,b\n".encode(encoding)
    report, _ = judge(tmp_path, content)

    name = hint_of(report).partition("iconv -f ")[2].partition(" ")[0]

    assert report["problems"][0]["code"] == "not_utf8"
    assert judge(tmp_path, content.decode(name))[1] == [PAIR]


@pytest.mark.parametrize(
    ("content", "columns", "declared"),
    [
        (f"chat\n{CELL}\n", {"messages": "chat"}, "auto"),
        (f"id;chat\n1;{CELL}\n", {"messages": "chat"}, "auto"),
        ('frage,antwort,past\na,b,"[]"\n', {"instruction": "frage", "output": "antwort"}, "auto"),
        ("frage;antwort\na;b\n", {"instruction": "frage", "output": "antwort"}, "auto"),
    ],
)
def test_a_mapping_reaches_the_cells_of_a_csv_file(tmp_path, content, columns, declared):
    report, rows = judge(tmp_path, content, columns, declared)

    assert (report["status"], report["format"], rows) == ("ready", "csv", [PAIR])


@pytest.mark.parametrize("name", ["past", "history"])
def test_lists_in_mapped_cells_are_read_and_empty_ones_are_none(tmp_path, name):
    content = f'instruction,output,{name}\na,b,"[[""c"",""d""]]"\na,b,\n'

    report, rows = judge(tmp_path, content, {"history": name})

    assert report["status"] == "ready"
    assert rows == [{**PAIR, "history": [["c", "d"]]}, PAIR]


def test_one_column_of_texts_is_csv_where_the_caller_says_so(tmp_path):
    content = "story\nOnce upon a time.\n"

    assert judge(tmp_path, content)[0]["format"] == "unknown"
    assert judge(tmp_path, content, {"text": "story"})[1] == [{"text": "Once upon a time."}]
    report, _ = judge(tmp_path, content, declared="csv")
    assert report["format"] == "csv"
    assert report["problem_counts"]["field_missing"] == 2


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_excels_line_about_the_delimiter_is_no_header(tmp_path, mark):
    content = f"\ufeffsep={mark}\r\ninstruction{mark}output\r\na{mark}b\r\nc{mark}\r\n"

    report, rows = judge(tmp_path, content)

    assert rows == [PAIR]
    errors = [(p["code"], p["line"]) for p in report["problems"] if p["severity"] == "error"]
    assert errors == [("output_empty", 4)]


def test_lines_that_hold_lists_of_objects_are_rows_and_no_wrapping(tmp_path):
    line = f'{{"items": {CHAT}}}\n'

    report, rows = judge(tmp_path, line * 2, {"messages": "items"})
    untold, _ = judge(tmp_path, line * 2)

    assert (report["status"], rows) == ("ready", [PAIR, PAIR])
    assert untold["num_rows"] == 2


def test_a_column_that_holds_no_text_is_not_suggested_for_one(tmp_path):
    report, _ = judge(tmp_path, '{"question": "a", "answers": {"text": ["b"]}}\n')

    assert '"output":"..."' in hint_of(report)


def test_the_reason_names_only_what_the_rows_have(tmp_path):
    rows = '{"output": "b"}\n' * 2 + '{"messages": []}\n'

    report, _ = judge(tmp_path, rows)

    told = "2 of the first 3 rows have `instruction` or `output`."
    assert report["row_format_reason"] == told
    mixed = next(p for p in report["problems"] if p["code"] == "rows_mixed")
    assert mixed["message"].endswith("the file's rows have `instruction` or `output`.")
