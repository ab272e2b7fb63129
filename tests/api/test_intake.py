"""From an upload to a queued job, with the real validator in between."""

import gzip
import json

import pytest

from app.api.schemas.reports import ReportOut
from app.core.events.notifier import Notifier
from app.core.queue import WorkerQueue
from tests.core.datasets.packed import parquet
from worker.housekeeper.intake import Intake

SKIP = {"on_invalid_row": "skip", "max_skip_share": 1.0}
GOOD = [{"instruction": f"Say {n}", "output": str(n)} for n in range(3)]


@pytest.fixture
def intake(settings, world) -> Intake:
    redis_url = str(settings.redis_url)
    return Intake(
        settings, world.sessions, world.storage, WorkerQueue(redis_url), Notifier(redis_url)
    )


def upload(client, content: bytes, **fields) -> str:
    answer = client.post("/datasets", files={"file": ("rows", content)}, data=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def judge(intake: Intake) -> None:
    while intake.take_one():
        pass


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (json.dumps(GOOD).encode(), {}),
        ("\n".join(map(json.dumps, GOOD)).encode(), {}),
        (json.dumps(GOOD).encode(), {"format": "json"}),
        ("\n".join(map(json.dumps, GOOD)).encode(), {"format": "jsonl"}),
        (parquet(GOOD), {}),
        (parquet(GOOD), {"format": "parquet"}),
        (gzip.compress(json.dumps(GOOD).encode(), mtime=0), {}),
    ],
)
def test_every_form_becomes_ready_and_their_jobs_queued(client, intake, content, fields):
    dataset_id = upload(client, content, **fields)
    job = client.post("/jobs", json={"model": "tiny", "dataset": dataset_id}).json()

    judge(intake)

    dataset = client.get(f"/datasets/{dataset_id}").json()
    assert (dataset["status"], dataset["num_rows"], dataset["num_valid_rows"]) == ("ready", 3, 3)
    assert client.get(f"/datasets/{dataset_id}/rows").json()["data"] == GOOD
    report = client.get(f"/datasets/{dataset_id}/report").json()
    assert ReportOut.model_validate(report).problem_counts == {}
    assert client.get(f"/datasets/{dataset_id}/content").content == content
    assert job["status"] == "validating"
    assert client.get(f"/jobs/{job['id']}").json()["status"] == "queued"


def test_a_dataset_says_which_form_its_rows_had(client, intake):
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    dataset_id = upload(client, json.dumps([{"messages": messages}]).encode())
    before = client.get(f"/datasets/{dataset_id}").json()

    judge(intake)

    dataset = client.get(f"/datasets/{dataset_id}").json()
    assert (before["row_format"], dataset["row_format"]) == (None, "messages")
    rows = client.get(f"/datasets/{dataset_id}/rows").json()["data"]
    assert rows == [{"instruction": "a", "output": "b"}]
    report = client.get(f"/datasets/{dataset_id}/report").json()
    assert ReportOut.model_validate(report).row_format == "messages"
    assert report["row_format_reason"] == "1 of the first 1 rows have a list `messages`."


def test_bad_rows_are_reported_and_refuse_a_job(client, intake):
    bad = [GOOD[0], {"instruction": "Say"}, {"instruction": "", "output": "x", "inptu": "y"}]
    dataset_id = upload(client, "\n".join(map(json.dumps, bad)).encode())
    spec = {"model": "tiny", "dataset": dataset_id}
    early = client.post("/jobs", json=spec).json()["id"]
    early_skip = client.post("/jobs", json={**spec, **SKIP}).json()["id"]

    judge(intake)

    report = client.get(f"/datasets/{dataset_id}/report").json()
    told = ReportOut.model_validate(report)
    assert told.status == "invalid"
    assert told.num_valid_rows >= 1
    assert told.problems
    assert set(report) <= set(ReportOut.model_fields)
    assert client.get(f"/jobs/{early}").json()["failure"]["code"] == "dataset_invalid"
    assert client.get(f"/jobs/{early_skip}").json()["status"] == "queued"
    refused = client.post("/jobs", json=spec)
    assert (refused.status_code, refused.json()["code"]) == (422, "dataset_invalid")
    assert len(refused.json()["errors"]) > 1


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"PK\x03\x04zip", b"[", b"{}" * 3])
def test_what_is_no_data_is_judged_invalid_with_a_report(client, intake, content):
    dataset_id = upload(client, content)

    judge(intake)

    assert client.get(f"/datasets/{dataset_id}").json()["status"] == "invalid"
    report = client.get(f"/datasets/{dataset_id}/report").json()
    assert ReportOut.model_validate(report).problems


def test_a_deleted_upload_is_not_judged(client, intake, world):
    dataset_id = upload(client, b"[]")
    client.delete(f"/datasets/{dataset_id}")

    assert not intake.take_one()
    assert list(world.storage.keys("datasets/")) == []


def test_a_template_needs_its_column(client, intake):
    texts = upload(client, b'{"text": "Once upon a time."}\n{"text": "The end."}')
    pairs = upload(client, json.dumps(GOOD).encode())
    judge(intake)

    def post(dataset: str, **spec):
        return client.post("/jobs", json={"model": "tiny", "dataset": dataset, **spec})

    for answer in (post(texts), post(pairs, template="text", train_on="all")):
        assert (answer.status_code, answer.json()["code"]) == (422, "template_unfit")
        assert answer.json()["errors"][0]["pointer"] == "/template"
    assert post(texts, template="text", train_on="all").status_code == 201
    assert post(pairs, template="chat", model="roomy").status_code == 201
