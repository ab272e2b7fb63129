"""Rows that two datasets share, over HTTP and in the report."""

import json

import pytest

from app.api.schemas.reports import OverlapOut
from tests.api.world import ROWS


@pytest.fixture
def pair(world):
    """A training set, and a validation set that shares three rows with it, two of them exactly."""
    first, other = world.dataset(), world.dataset()
    rows = [{"instruction": "New", "output": "x"}, ROWS[4], ROWS[2], {**ROWS[3], "output": "?"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    world.storage.write(f"datasets/{other}/rows.jsonl", [lines.encode()])
    return first, other


EXPECTED = {
    "num_rows": 4,
    "exact": {"rows": 2, "share": 0.5, "examples": [[4, 1], [2, 2]]},
    "same_prompt": {"rows": 3, "share": 0.75, "examples": [[4, 1], [2, 2], [3, 3]]},
}


def test_rows_of_a_validation_set_that_were_trained_are_counted_and_named(client, pair):
    first, other = pair
    path = f"/datasets/{first}/overlap"

    found, again = (client.get(path, params={"with": other}) for _ in range(2))

    assert found.status_code == 200, found.text
    assert found.json() == {"dataset": first, "other": other, **EXPECTED}
    assert again.json() == found.json()


def test_the_other_way_round_is_another_question(client, pair):
    first, other = pair

    found = client.get(f"/datasets/{other}/overlap", params={"with": first}).json()

    assert (found["num_rows"], found["exact"]["rows"]) == (25, 2)


def test_the_report_tells_it_when_asked(client, pair):
    first, other = pair
    path = f"/datasets/{first}/report"

    plain, told = client.get(path), client.get(path, params={"validation": other})

    assert told.json().pop("overlap") == {"dataset": first, "other": other, **EXPECTED}
    assert {**plain.json(), "overlap": told.json()["overlap"]} == told.json()
    assert OverlapOut.model_validate(told.json()["overlap"]).exact.rows == 2


def test_a_count_is_kept_and_goes_with_the_dataset(client, pair, world):
    first, other = pair
    client.get(f"/datasets/{first}/overlap", params={"with": other})
    kept = [key for key in world.storage.keys(f"datasets/{first}/") if "overlap" in key]
    world.storage.delete_all(f"datasets/{other}/")

    again = client.get(f"/datasets/{first}/overlap", params={"with": other}).json()
    client.delete(f"/datasets/{first}")

    assert len(kept) == 1
    assert again["exact"]["rows"] == 2
    assert list(world.storage.keys(f"datasets/{first}/")) == []


def test_a_dataset_without_rows_shares_nothing(client, world):
    first, other = world.dataset(), world.dataset("invalid", num_rows=0, num_valid_rows=0)
    world.storage.delete_all(f"datasets/{other}/")

    found = client.get(f"/datasets/{first}/overlap", params={"with": other}).json()

    assert (found["num_rows"], found["exact"]["share"]) == (0, 0.0)


@pytest.mark.parametrize(
    ("path", "parameter"), [("overlap", "with"), ("report", "validation")], ids=str
)
def test_what_is_not_there_or_not_judged_is_told(client, world, path, parameter):
    first, early = world.dataset(), world.dataset("validating")
    foreign = world.dataset(project=world.project())

    def ask(other: str):
        answer = client.get(f"/datasets/{first}/{path}", params={parameter: other})
        return answer.status_code, answer.json()["code"]

    assert ask(early) == (409, "dataset_validating")
    assert ask(foreign) == ask("ds_none") == (404, "dataset_not_found")


def test_rows_that_break_the_count_are_told_and_nothing_is_kept(client, pair, world):
    first, other = pair
    world.storage.write(f"datasets/{other}/rows.jsonl", [b"not json\n"])

    found = client.get(f"/datasets/{first}/overlap", params={"with": other})

    assert (found.status_code, found.json()["code"]) == (422, "dataset_not_measured")
    assert not [key for key in world.storage.keys("") if "/overlap/" in key]
