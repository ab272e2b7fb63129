"""A message marked not to be trained is not trained; every other key is read or reported."""

import pytest

from tests.core.datasets.test_shapes import run
from tests.core.datasets.test_tool_rows import CALL, CALLING, sharegpt

ASK = {"role": "user", "content": "a"}
SAY = {"role": "assistant", "content": "b"}
PAIR = {"instruction": "a", "output": "b"}
TWO = {**PAIR, "history": [["a", "b"]]}


@pytest.mark.parametrize(
    "mark", [{"weight": 0}, {"train": False}, {"training": False}, {"train": 0, "weight": 0.0}]
)
def test_a_marked_message_is_not_trained(mark, tmp_path):
    turn = {"from": "gpt", "value": "b", **mark}
    chat = {"messages": [ASK, SAY, ASK, {**SAY, **mark}]}
    shared = {"conversations": [*sharegpt(("human", "a"))["conversations"], turn] * 2}
    shared["conversations"][1] = {"from": "gpt", "value": "b"}

    for number, given in enumerate((chat, shared)):
        folder = tmp_path / str(number)
        folder.mkdir()
        report, rows = run(folder, given)
        assert rows == [{**TWO, "weights": [1, 0]}]
        assert report["problem_counts"] == {}


def test_a_message_marked_as_trained_or_a_question_marked_as_not_changes_nothing(tmp_path):
    marked = {"messages": [{**ASK, "train": False}, {**SAY, "training": True, "weight": None}]}

    report, rows = run(tmp_path, marked)

    assert (rows, report["problem_counts"]) == ([PAIR], {})


def test_a_call_that_is_a_turn_may_be_marked(tmp_path):
    call = {"from": "function_call", "value": '{"name": "weather"}', "train": False}
    turns = [{"from": "human", "value": "a"}, call, {"from": "observation", "value": "7"}]

    _, [row] = run(tmp_path, {"conversations": [*turns, {"from": "gpt", "value": "b"}]})

    assert [each.get("weight") for each in row["messages"]] == [None, 0, None, None]


@pytest.mark.parametrize(
    ("message", "key"),
    [
        ({**SAY, "train": "no"}, "train"),
        ({**SAY, "training": 0.5}, "training"),
        ({**SAY, "train": False, "weight": 1}, "train"),
        ({**SAY, "train": False, "training": True}, "training"),
    ],
)
def test_a_mark_that_means_nothing_is_refused(message, key, tmp_path):
    report, rows = run(tmp_path, {"messages": [ASK, message]})

    [problem] = report["problems"]
    assert (problem["pointer"], problem["code"]) == (f"/0/messages/1/{key}", "weight_invalid")
    assert rows == []


def test_a_question_cannot_be_trained(tmp_path):
    report, _ = run(tmp_path, {"messages": [{**ASK, "train": True}, SAY]})

    assert report["problems"][0]["pointer"] == "/0/messages/0/train"


def test_unknown_keys_are_reported_once_each_with_their_count(tmp_path):
    named = {"messages": [{**ASK, "name": "Ann"}, {**SAY, "id": "x/1", "annotations": []}]}

    report, rows = run(tmp_path, {"messages": [ASK, SAY]}, named, named)

    assert rows == [PAIR] * 3
    assert report["status"] == "ready"
    assert report["problem_counts"] == {"message_key_ignored": 4, "duplicate_rows": 1}
    first, second, _ = report["problems"]
    assert (first["pointer"], first["severity"]) == ("/1/messages/0/name", "info")
    assert first["message"] == "The key `name` of 2 messages is not used and was left out."
    assert second["pointer"] == "/1/messages/1/id"


@pytest.mark.parametrize("key", ["loss", "mask", "ignore", "train_on", "train_detail"])
def test_a_key_by_which_other_tools_mask_says_so(key, tmp_path):
    given = {"messages": [{**ASK, key: True}, {**SAY, key: True}]}

    report, _ = run(tmp_path, given)

    [problem] = report["problems"]
    assert (problem["code"], problem["severity"]) == ("message_mask_ignored", "warning")
    assert problem["message"] == (
        f"2 messages have the key `{key}`, by which other tools leave messages out of training; "
        "here it is not read."
    )
    assert report["problem_counts"] == {"message_mask_ignored": 2}


def test_a_mask_of_false_is_reported_too(tmp_path):
    report, _ = run(tmp_path, {"messages": [ASK, {**SAY, "loss": False}]})

    assert report["problem_counts"] == {"message_mask_ignored": 1}


@pytest.mark.parametrize(
    ("message", "count"),
    [
        ({**SAY, "tool_call_id": "x", "refusal": None}, 1),
        ({**CALLING, "function_call": CALL["function"]}, 1),
        ({**SAY, "thinking": "b", "reasoning_content": "b"}, 0),
        ({**SAY, "thinking": "b", "reasoning_content": "c"}, 1),
        ({**SAY, "from": None}, 0),
    ],
)
def test_a_key_that_this_message_does_not_use_is_reported(message, count, tmp_path):
    report, rows = run(tmp_path, {"messages": [ASK, message]})

    assert report["problem_counts"].get("message_key_ignored", 0) == count
    assert len(rows) == 1


def test_a_key_with_a_slash_is_pointed_at(tmp_path):
    report, _ = run(tmp_path, {"messages": [ASK, {**SAY, "a/b": 1}]})

    assert report["problems"][0]["pointer"] == "/0/messages/1/a~1b"
