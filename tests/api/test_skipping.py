"""Bad rows that a job skips: no more than it allows, and always listed."""

import json

import pytest

from app.core.events.notifier import Notifier
from app.core.queue import WorkerQueue
from worker.housekeeper.intake import Intake

BAD = {"instruction": "", "output": "x"}


@pytest.fixture
def intake(settings, world) -> Intake:
    redis_url = str(settings.redis_url)
    return Intake(
        settings, world.sessions, world.storage, WorkerQueue(redis_url), Notifier(redis_url)
    )


def dataset(client, num_rows: int, bad: set[int]) -> str:
    """A dataset that is uploaded but not yet validated."""
    rows = [
        BAD if n in bad else {"instruction": f"Say {n}", "output": "x"} for n in range(num_rows)
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    return str(client.post("/datasets", files={"file": ("rows", content)}).json()["id"])


def judge(intake: Intake) -> None:
    while intake.take_one():
        pass


def post(client, dataset: str, **spec):
    body = {"model": "tiny", "dataset": dataset, "on_invalid_row": "skip", **spec}
    return client.post("/jobs", json=body)


def warnings(client, job: str):
    return client.get(f"/jobs/{job}/events?type=warning").json()["data"]


@pytest.mark.parametrize("is_judged_first", [True, False])
def test_a_job_says_which_rows_it_skips_whenever_the_verdict_came(client, intake, is_judged_first):
    of = dataset(client, 300, bad={3, 7, 29})
    if is_judged_first:
        judge(intake)
    job = post(client, of).json()["id"]
    judge(intake)

    [told] = warnings(client, job)

    assert client.get(f"/jobs/{job}").json()["status"] == "queued"
    assert told["level"] == "warning"
    assert told["message"].startswith("3 of the 300 rows")
    assert told["data"].pop("hint").startswith(f"GET /datasets/{of}/report")
    assert told["data"] == {
        "code": "rows_skipped",
        "pointer": "/on_invalid_row",
        "dataset": of,
        "num_skipped": 3,
        "num_rows": 300,
        "share": 0.01,
        "rows": [3, 7, 29],
        "rows_truncated": False,
    }


def test_of_many_skipped_rows_the_first_hundred_are_named(client, intake):
    of = dataset(client, 300, bad=set(range(0, 300, 2)))
    judge(intake)

    [told] = warnings(client, post(client, of, max_skip_share=0.5).json()["id"])

    assert told["data"]["num_skipped"] == 150
    assert told["data"]["rows"] == list(range(0, 200, 2))
    assert told["data"]["rows_truncated"] is True


def test_more_than_a_tenth_is_refused_with_share_limit_and_first_rows(client, intake, world):
    of = dataset(client, 20, bad={2, 5, 11})
    judge(intake)
    before = world.count()

    answer = post(client, of)

    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_rows_skipped")
    told = answer.json()
    assert (told["share"], told["limit"]) == (0.15, 0.1)
    assert "15.0%" in told["detail"]
    assert "10.0%" in told["detail"]
    first, *rest = told["errors"]
    assert first["pointer"] == "/dataset"
    assert "max_skip_share" in first["hint"]
    places = [each["message"].partition(":")[0] for each in rest]
    assert places == ["row 2 (line 3)", "row 5 (line 6)", "row 11 (line 12)"]
    assert world.count() == before


def test_the_limit_itself_is_allowed(client, intake):
    of = dataset(client, 20, bad={2, 5})
    judge(intake)

    assert post(client, of).status_code == 201
    assert post(client, of, max_skip_share=0.0999).status_code == 422
    assert post(client, of, max_skip_share=0).status_code == 422


def test_a_waiting_job_fails_over_the_limit_with_the_same_reason(client, intake):
    job = post(client, dataset(client, 10, bad=set(range(1, 10)))).json()["id"]

    judge(intake)

    answer = client.get(f"/jobs/{job}").json()
    failure = answer["failure"]
    assert (answer["status"], failure["code"]) == ("failed", "too_many_rows_skipped")
    assert "9 of the 10 rows" in failure["message"]
    assert "90.0%" in failure["message"]
    assert failure["evidence"].startswith("row 1 (line 2): ")
    assert failure["evidence"].count("row ") == 5
    assert warnings(client, job) == []


@pytest.mark.parametrize("is_judged_first", [True, False])
def test_a_poison_row_is_told_with_its_line_and_its_reason(client, intake, is_judged_first):
    of = dataset(client, 20, bad={4})
    if is_judged_first:
        judge(intake)

    answer = post(client, of, on_invalid_row="error")

    if is_judged_first:
        assert (answer.status_code, answer.json()["code"]) == (422, "dataset_invalid")
        told = answer.json()["errors"][1]["message"]
    else:
        judge(intake)
        failure = client.get(f"/jobs/{answer.json()['id']}").json()["failure"]
        assert failure["code"] == "dataset_invalid"
        told = failure["evidence"]
    assert told == "row 4 (line 5): `instruction` is empty."


@pytest.mark.parametrize("is_judged_first", [True, False])
def test_a_validation_set_is_held_to_the_limit_too(client, intake, world, is_judged_first):
    held_out = dataset(client, 4, bad={0, 1})
    if is_judged_first:
        judge(intake)

    answer = post(client, world.dataset(), validation={"dataset": held_out})

    if is_judged_first:
        assert answer.json()["code"] == "too_many_rows_skipped"
        assert answer.json()["errors"][0]["pointer"] == "/validation/dataset"
    else:
        judge(intake)
        told = client.get(f"/jobs/{answer.json()['id']}").json()["failure"]["message"]
        assert held_out in told
