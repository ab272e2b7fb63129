"""The complete list of problems of a dataset, and the progress of its validation, over HTTP."""

import json
import threading
import time
from typing import Any

import pytest

from app.api.schemas.reports import ReportOut
from app.core.datasets.validate import validate_in_child
from app.core.events.notifier import Notifier
from app.core.queue import WorkerQueue
from worker.housekeeper.intake import Intake

GOOD = b'{"instruction": "a", "output": "b"}\n'
NUM_BAD = 3_000
BAD = b"".join(b'{"instruction": "a %d", "output": ""}\n' % n for n in range(NUM_BAD))


@pytest.fixture
def intake(settings, world) -> Intake:
    redis_url = str(settings.redis_url)
    return Intake(
        settings, world.sessions, world.storage, WorkerQueue(redis_url), Notifier(redis_url)
    )


@pytest.fixture
def dataset_id(client, intake) -> str:
    """One good row, a wide one, 3,000 bad ones, two copies."""
    wide = b'{"instruction": "a", "output": "c", "more": 1}\n'
    found = upload(client, GOOD + wide + BAD + GOOD * 2)
    while intake.take_one():
        pass
    return found


def upload(client, content: bytes) -> str:
    answer = client.post("/datasets", files={"file": ("rows", content)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def get(client, dataset_id: str, query: str = "") -> dict:
    answer = client.get(f"/datasets/{dataset_id}/problems?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_bad_row_is_told_page_by_page(client, dataset_id):
    lines, after, has_more = [], 0, True
    while has_more:
        page = get(client, dataset_id, f"code=output_empty&limit=700&after={after}")
        lines += [each["line"] for each in page["data"]]
        after, has_more = page["data"][-1]["n"], page["has_more"]

    assert lines == list(range(3, NUM_BAD + 3))
    report = ReportOut.model_validate(client.get(f"/datasets/{dataset_id}/report").json())
    assert report.problems_truncated
    assert report.problem_counts["output_empty"] == NUM_BAD
    assert report.problems_stored is not None
    assert report.problems_stored.model_dump() == {"count": NUM_BAD + 2, "complete": True}


@pytest.mark.slow
def test_the_whole_list_comes_as_lines(client, dataset_id):
    url = f"/datasets/{dataset_id}/problems"
    asked = client.get(url, headers={"Accept": "application/x-ndjson"})
    named = client.get(f"{url}?format=jsonl")
    errors = client.get(f"{url}?format=jsonl&severity=error")

    assert asked.headers["content-type"].startswith("application/x-ndjson")
    assert asked.content == named.content
    told = [json.loads(line) for line in asked.content.splitlines()]
    assert [each["severity"] for each in told[:2]] == ["info", "error"]
    assert told[-1]["code"] == "duplicate_rows"
    assert told[1]["pointer"] == "/2/output"
    assert told[1]["snippet"] == '{"instruction": "a 0", "output": ""}'
    assert told[1]["hint"]
    assert len(errors.content.splitlines()) == NUM_BAD


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("severity=warning", ["duplicate_rows"]),
        ("severity=info", ["column_ignored"]),
        ("severity=info&code=output_empty", []),
        ("code=nothing", []),
        ("after=1099511627776", []),
        ("limit=1", ["column_ignored"]),
        ("limit=1&after=5", ["output_empty"]),
    ],
)
def test_the_list_is_filtered_and_read_on(client, dataset_id, query, codes):
    assert [each["code"] for each in get(client, dataset_id, query)["data"]] == codes


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", "severity=bad"])
def test_what_makes_no_sense_is_refused(client, dataset_id, query):
    answer = client.get(f"/datasets/{dataset_id}/problems?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_there_is_no_list_while_it_is_being_made_nor_of_others(client, world):
    waiting = client.get(f"/datasets/{world.dataset('validating')}/problems")
    foreign = client.get(f"/datasets/{world.dataset(project=world.project())}/problems")
    older = client.get(f"/datasets/{world.dataset()}/problems")

    assert (waiting.status_code, waiting.json()["code"]) == (409, "dataset_validating")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "dataset_not_found")
    assert (older.status_code, older.json()["code"]) == (404, "report_missing")


def test_a_dataset_tells_how_far_its_check_is(client, intake):
    dataset_id = upload(client, GOOD)
    judged = threading.Event()
    seen: list[Any] = []

    def slow(uploads, out, settings, **options):
        """Stand in for a slow validation; it writes progress as the real child does."""
        (out / "progress.json").write_text('{"fraction": 0.25, "rows": 7}')
        assert judged.wait(10)
        return validate_in_child(uploads, out, settings, **options)

    intake.validate = slow
    thread = threading.Thread(target=intake.take_one)
    thread.start()
    deadline = time.monotonic() + 10
    while not seen and time.monotonic() < deadline:
        seen = [told for told in [client.get(f"/datasets/{dataset_id}").json()["progress"]] if told]
    judged.set()
    thread.join()

    assert seen == [{"fraction": 0.25, "rows": 7}]
    dataset = client.get(f"/datasets/{dataset_id}").json()
    assert (dataset["status"], dataset["progress"]) == ("ready", None)
