"""Tool calls of every dialect become the same canonical row, or are refused by their pointer."""

import json
from typing import Any

import pytest

from tests.core.datasets.test_shapes import run

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object"}},
}
ASK = {"role": "user", "content": "And in Oslo?"}
CALL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Oslo"}},
}
CALLING: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": [CALL]}
FOUND = {"role": "tool", "content": "7"}
ANSWER = {"role": "assistant", "content": "7 degrees."}
ROW: Any = {"messages": [ASK, CALLING, FOUND, ANSWER], "tools": [TOOL]}
CALL_TEXT = '{"name": "weather", "arguments": {"city": "Oslo"}}'


def sharegpt(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": who, "value": what} for who, what in turns], **more}


def openai(*messages: dict[str, Any], tools: Any = (TOOL,)) -> dict[str, Any]:
    return {"messages": list(messages), "tools": [*tools] if isinstance(tools, tuple) else tools}


def calling(**function: Any) -> dict[str, Any]:
    return {**CALLING, "content": None, "tool_calls": [{**CALL, "function": function}]}


AS_TEXT = calling(name="weather", arguments='{"city": "Oslo"}')
SAME = [
    openai(ASK, AS_TEXT, FOUND, ANSWER),
    openai(ASK, {**CALLING, "tool_calls": [CALL["function"]]}, FOUND, ANSWER),
    openai(ASK, CALLING, {**FOUND, "content": 7}, ANSWER, tools=json.dumps([TOOL])),
    openai(ASK, CALLING, FOUND, ANSWER, tools=[TOOL["function"]]),
    {
        "functions": [TOOL["function"]],
        "messages": [
            ASK,
            {"role": "assistant", "content": None, "function_call": AS_TEXT["tool_calls"][0]},
            {**FOUND, "role": "function"},
            {**ANSWER, "content": [{"type": "text", "text": "7 "}, {"text": "degrees."}]},
        ],
    },
    {"prompt": [ASK, CALLING, FOUND], "completion": [ANSWER], "tools": [TOOL]},
    sharegpt(
        ("human", "And in Oslo?"),
        ("function_call", CALL_TEXT),
        ("observation", "7"),
        ("gpt", "7 degrees."),
        tools=json.dumps([TOOL["function"]]),
    ),
    sharegpt(
        ("user", "And in Oslo?"),
        ("tool_call", f"[{CALL_TEXT}]"),
        ("tool_response", "7"),
        ("assistant", "7 degrees."),
        tools=[TOOL],
    ),
]


@pytest.mark.parametrize("given", SAME)
def test_every_dialect_becomes_the_same_row(given, tmp_path):
    report, [row] = run(tmp_path, given)

    untrained = {**CALLING, "weight": 0} if "prompt" in given else CALLING
    assert row == {**ROW, "messages": [ASK, untrained, FOUND, ANSWER]}
    assert (report["status"], report["templates"]) == ("ready", ["chat"])
    assert report["features"] == {"tools": "Json(decode=True)", "messages": "Json(decode=True)"}
    assert report["problem_counts"] == {}


def test_a_canonical_row_can_be_uploaded_again(tmp_path):
    given = {**ROW, "messages": [*ROW["messages"][:1], {**CALLING, "weight": 0}, FOUND, ANSWER]}

    _, rows = run(tmp_path, given)

    assert rows == [given]


def test_parallel_calls_keep_their_ids_and_answers(tmp_path):
    calls = [{"id": "call_1", **CALL}, {"id": "call_2", **CALL}]
    found = [{**FOUND, "tool_call_id": each["id"], "name": "weather"} for each in calls]
    given = openai(ASK, {**CALLING, "tool_calls": calls}, *found, ANSWER)

    _, [row] = run(tmp_path, given)

    assert row == given


def test_turns_that_are_calls_join_the_answer_before_them(tmp_path):
    given = sharegpt(
        ("human", "And in Oslo?"),
        ("gpt", "Let me look."),
        ("function_call", CALL_TEXT),
        ("function_call", CALL_TEXT),
        ("observation", "7"),
        ("observation", ""),
        ("gpt", "7 degrees."),
    )

    _, [row] = run(tmp_path, given)

    joined = {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL, CALL]}
    assert row == {"messages": [ASK, joined, FOUND, {**FOUND, "content": ""}, ANSWER]}


def test_the_last_answer_may_be_a_call_and_a_system_text_comes_first(tmp_path):
    _, [row] = run(tmp_path, {**openai(ASK, CALLING, tools=[]), "system": "Be brief."})

    assert row == {"messages": [{"role": "system", "content": "Be brief."}, ASK, CALLING]}


@pytest.mark.parametrize(
    "given",
    [
        {"instruction": "a", "output": "b", "tools": [TOOL]},
        {"prompt": "a", "completion": "b", "tools": json.dumps([TOOL])},
        {**openai({**ASK, "content": "a"}, {**ANSWER, "content": "b"})},
    ],
)
def test_a_row_without_calls_keeps_the_tools_that_it_offers(given, tmp_path):
    report, rows = run(tmp_path, given)

    assert rows == [{"instruction": "a", "output": "b", "tools": [TOOL]}]
    assert report["templates"] == ["alpaca", "chat"]


LAST = "/0/messages/1"
BAD = [
    (openai(ASK, calling(name="weather", arguments="{city")), LAST + "/tool_calls/0"),
    (openai(ASK, calling(name="weather", arguments="[1]")), LAST + "/tool_calls/0"),
    (openai(ASK, calling(arguments={})), LAST + "/tool_calls/0"),
    (openai(ASK, {**CALLING, "tool_calls": "call it"}), LAST + "/tool_calls"),
    (sharegpt(("human", "a"), ("function_call", "weather()")), "/0/conversations/1/value"),
    (openai(ASK, CALLING, tools=["weather"]), "/0/tools/0"),
    (openai(ASK, CALLING, tools={"weather": TOOL}), "/0/tools"),
    ({"instruction": "a", "output": "b", "tools": "a hammer"}, "/0/tools"),
    (openai(ASK, FOUND, ANSWER), LAST),
    (openai(ASK, ANSWER, FOUND, ANSWER), "/0/messages/2"),
    (
        openai(
            ASK,
            {**CALLING, "tool_calls": [{"id": "x", **CALL}]},
            {**FOUND, "tool_call_id": "y"},
            ANSWER,
        ),
        "/0/messages/2/tool_call_id",
    ),
    (openai(ASK, CALLING, ANSWER), "/0/messages/2"),
    (openai(ASK, CALLING, FOUND), "/0/messages"),
    (
        openai(ASK, {**ANSWER, "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}),
        LAST + "/content/1",
    ),
    (openai(ASK, {**ANSWER, "content": [{"type": "text", "text": None}]}), LAST + "/content/0"),
    (openai(ASK, {**ANSWER, "content": [{"type": "image", "text": "a"}]}), LAST + "/content/0"),
]


@pytest.mark.parametrize(("given", "pointer"), BAD)
def test_what_cannot_be_read_is_refused_by_its_pointer(given, pointer, tmp_path):
    report, rows = run(tmp_path, given)

    assert rows == []
    assert [problem["pointer"] for problem in report["problems"]] == [pointer]


@pytest.mark.parametrize("bad", ["\0", "\ud800"])
@pytest.mark.parametrize("where", ["argument", "key", "tool"])
def test_a_character_that_is_no_text_is_found_in_calls_and_tools(bad, where, tmp_path):
    arguments = {bad: 1} if where == "key" else {"city": bad if where == "argument" else "Oslo"}
    tool = {"name": "weather", "description": bad} if where == "tool" else TOOL

    report, rows = run(tmp_path, openai(ASK, calling(name="w", arguments=arguments), tools=[tool]))

    assert rows == []
    assert {each["pointer"] for each in report["problems"]} == (
        {"/0/tools"} if where == "tool" else {LAST}
    )


def test_nulls_of_parquet_are_no_arguments(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from app.core.datasets.checking.check import check

    other = calling(name="time", arguments={"zone": "CET"})
    path = tmp_path / "upload"
    pq.write_table(pa.Table.from_pylist([openai(ASK, CALLING, FOUND, other)]), path)

    check(path, tmp_path, declared="auto", max_row_chars=10_000)

    [row] = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert row == {**ROW, "messages": [ASK, CALLING, FOUND, {**other, "content": ""}]}


def test_tools_in_csv_cells_are_read_and_may_be_mapped(tmp_path):
    from app.core.datasets.checking.check import check

    upload = tmp_path / "upload"
    quoted = json.dumps([TOOL]).replace('"', '""')
    upload.write_text(f'instruction,output,able\na,b,"{quoted}"\nc,d,\n')

    check(upload, tmp_path, declared="auto", max_row_chars=1000, columns={"tools": "able"})

    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert rows == [
        {"instruction": "a", "output": "b", "tools": [TOOL]},
        {"instruction": "c", "output": "d"},
    ]


@pytest.mark.parametrize("arguments", [{"city": "Oslo"}, '{"city": "Oslo"}'])
def test_arguments_may_be_called_parameters(tmp_path, arguments):
    _, rows = run(
        tmp_path, openai(ASK, calling(name="weather", parameters=arguments), FOUND, ANSWER)
    )

    assert rows[0]["messages"][1]["tool_calls"] == [CALL]


@pytest.mark.parametrize("key", ["args", "input", "kwargs"])
def test_a_call_whose_arguments_have_an_unknown_name_is_refused(tmp_path, key):
    calls = calling(name="weather", **{key: {"city": "Oslo"}})
    report, rows = run(tmp_path, openai(ASK, calls, FOUND, ANSWER))

    assert rows == []
    [problem] = report["problems"]
    assert problem["code"] == "tool_call_invalid"
    assert key in problem["message"]


def test_a_call_without_arguments_stays_one(tmp_path):
    _, rows = run(tmp_path, openai(ASK, calling(name="weather"), FOUND, ANSWER))

    assert rows[0]["messages"][1]["tool_calls"][0]["function"]["arguments"] == {}
