"""A column mapping, from the upload form to the rows."""

import json

import pytest

from tests.api.test_intake import intake, judge  # noqa: F401
from worker.housekeeper.intake import Intake

ROWS = json.dumps([{"question": "a", "answer": "b", "id": 1}]).encode()
MAPPING = {"instruction": "question", "output": "answer"}


def post(client, columns: object, **more):
    text = columns if isinstance(columns, str | bytes) else json.dumps(columns)
    return client.post("/datasets", files={"file": ("a", ROWS)}, data={"columns": text}, **more)


def test_mapped_columns_are_read(client, intake: Intake):  # noqa: F811
    dataset = post(client, MAPPING).json()

    judge(intake)

    assert dataset["columns"] == MAPPING
    found = client.get(f"/datasets/{dataset['id']}").json()
    assert (found["status"], found["row_format"]) == ("ready", "alpaca")
    rows = client.get(f"/datasets/{dataset['id']}/rows").json()["data"]
    assert rows == [{"instruction": "a", "output": "b"}]
    report = client.get(f"/datasets/{dataset['id']}/report").json()
    assert report["row_format_reason"] == "`columns` names `instruction` and `output`."
    assert report["problem_counts"] == {"column_ignored": 1}


def test_the_mapping_that_a_report_suggests_can_be_sent(client, intake: Intake):  # noqa: F811
    plain = client.post("/datasets", files={"file": ("a", ROWS)}).json()
    judge(intake)
    report = client.get(f"/datasets/{plain['id']}/report").json()
    hint = next(p["hint"] for p in report["problems"] if p["code"] == "field_missing")

    again = post(client, hint.partition("columns=")[2]).json()

    judge(intake)
    assert client.get(f"/datasets/{again['id']}").json()["status"] == "ready"


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("", [("/columns", "wrong_format")]),
        ("[", [("/columns", "wrong_format")]),
        ("[" * 900, [("/columns", "wrong_format")]),
        ("[]", [("/columns", "wrong_format")]),
        ("{}", [("/columns", "wrong_format")]),
        ('{"output": "a", "output": "b"}', [("/columns", "wrong_format")]),
        (b"\xff", [("/columns", "wrong_format")]),
        ({"a/b": "x"}, [("/columns/a~1b", "unknown_field")]),
        ({"weight": "x"}, [("/columns/weight", "unknown_field")]),
        (
            {"output": 1, "input": ""},
            [("/columns/output", "wrong_format"), ("/columns/input", "wrong_format")],
        ),
        ({"output": "\0"}, [("/columns/output", "wrong_format")]),
        ('{"output": "\\ud800"}', [("/columns/output", "wrong_format")]),
        ({"messages": "a", "output": "b"}, [("/columns", "invalid_combination")]),
        ({"output": "x" * 1000}, [("/columns", "wrong_length")]),
    ],
)
def test_a_wrong_mapping_is_refused_and_leaves_nothing(client, world, columns, told):
    answer = post(client, columns)

    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == told
    assert list(world.storage.keys("datasets/")) == []


def test_another_mapping_under_the_same_key_is_another_request(client):
    headers = {"Idempotency-Key": "k"}

    first = post(client, MAPPING, headers=headers)
    again = post(client, MAPPING, headers=headers)
    other = post(client, {"output": "answer"}, headers=headers)

    assert again.json()["id"] == first.json()["id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
