"""Jobs over HTTP: create, list, update, cancel, delete."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.core.clock import rfc3339, utc_now
from app.core.db.models import Job
from app.core.db.session import transaction
from app.core.events.log import Entry
from app.core.jobs.status import JobStatus

FIELDS = {
    *("model", "model_revision", "dataset", "validation", "recipe", "name", "tags", "priority"),
    *("template", "train_on", "quantization", "lora", "training", "on_invalid_row"),
    *("on_long_prompt", "on_long_row", "max_skip_share"),
    *("sample_prompts", "limits", "id", "project", "status", "phase", "status_reason"),
    *("created_at", "queued_at", "started_at", "finished_at", "attempt", "queue", "progress"),
    *("trained_tokens", "metrics", "stopped_by", "failure", "artifacts", "environment", "notes"),
}


def create(client, world, **spec):
    answer = client.post("/jobs", json={"model": "tiny", "dataset": world.dataset(), **spec})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_job_is_created_resolved_and_queued(client, world):
    spec = {"model": "tiny", "dataset": world.dataset(), "lora": {"r": 4}, "tags": {"a": "b"}}

    answer = client.post("/jobs", json=spec)

    job = answer.json()
    assert answer.status_code == 201
    assert set(job) == FIELDS
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert (job["status"], job["project"], job["attempt"]) == ("queued", "proj_default", 0)
    assert job["lora"]["r"] == 4
    assert job["lora"]["lora_alpha"] == 32
    assert job["training"]["learning_rate"] == 2e-4
    assert job["queued_at"].endswith("Z")
    assert job["queue"]["position"] == 1
    assert client.get(answer.headers["location"]).json() == job


def test_a_recipe_lies_under_what_is_written(client, world):
    job = create(client, world, recipe="xgen-7b-alpaca", training={"logging_steps": 3})

    assert (job["quantization"], job["train_on"]) == ("int8", "all")
    assert job["training"]["logging_steps"] == 3
    assert job["training"]["max_length"] == 256
    events = client.get(f"/jobs/{job['id']}/events?type=warning").json()["data"]
    assert events == [], "reporting departures from the recipe is left to the trainer"


def test_a_job_waits_for_its_data_to_be_judged(client, world):
    waiting = client.post("/jobs", json={"model": "tiny", "dataset": world.dataset("validating")})
    held_out = {"validation": {"dataset": world.dataset("validating")}}
    half = create(client, world, **held_out)

    for job in (waiting.json(), half):
        assert job["status"] == "validating"
        assert job["queue"] == {
            "position": None,
            "reason": "validating dataset",
            "estimated_start": None,
        }


def test_a_worker_is_woken_after_the_commit(client, world, settings, redis_client):
    create(client, world)

    assert redis_client.brpop("ft:tunesmith.default", timeout=10) is not None


def test_the_list_is_newest_first_in_pages(client, world):
    ids = [create(client, world)["id"] for _ in range(5)][::-1]

    first = client.get("/jobs?limit=2").json()
    second = client.get(f"/jobs?limit=2&after={ids[1]}").json()
    last = client.get(f"/jobs?limit=2&after={ids[3]}").json()

    assert [job["id"] for page in (first, second, last) for job in page["data"]] == ids
    assert [page["has_more"] for page in (first, second, last)] == [True, True, False]
    assert [job["queue"]["position"] for job in first["data"]] == [5, 4]


@pytest.mark.parametrize("cursor", ["job_nope", "x", "ds_1"])
def test_an_unknown_cursor_is_refused(client, cursor):
    answer = client.get(f"/jobs?after={cursor}")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_the_list_can_be_narrowed(client, world):
    dataset = world.dataset()
    one = create(client, world, name="Tone 100%", tags={"team": "a", "kind": "x"})["id"]
    two = create(client, world, model="roomy", dataset=dataset, tags={"team": "b"})["id"]
    client.post(f"/jobs/{one}/cancel")
    past, future = (rfc3339(utc_now() + timedelta(hours=hours)) for hours in (-1, 1))

    def found(**query):
        answer = client.get("/jobs", params=query)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json()["data"]]

    assert found(status="cancelled") == [one]
    assert found(status=["cancelled", "queued"]) == [two, one]
    assert found(model="roomy") == [two]
    assert found(dataset=dataset) == [two]
    assert found(tag="team") == [two, one]
    assert found(tag="team:a") == [one]
    assert found(tag=["team:a", "kind:y"]) == []
    assert found(q="tone") == [one]
    assert found(q="%") == [one]
    assert found(q="0_") == []
    assert found(q=two[-8:]) == [two]
    assert found(created_after=past) == [two, one]
    assert found(created_after=future) == []
    assert found(status="cancelled", model="roomy") == []


@pytest.mark.parametrize(
    "query", ["status=done", "limit=0", "limit=101", "limit=1e3", "created_after=2026-01-01T00:00"]
)
def test_a_wrong_filter_is_pointed_at(client, query):
    answer = client.get(f"/jobs?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"?{query.split('=')[0]}"


def test_a_foreign_job_is_not_there(client, world, sessions):
    job_id = create(client, world)["id"]
    project = world.project()
    with transaction(sessions) as session:
        session.execute(update(Job).values(project_id=project))

    for method, path in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        *(("GET", f"/{name}") for name in ("events", "stream", "logs", "metrics", "metrics.csv")),
        *(("GET", f"/{name}") for name in ("checkpoints", "samples", "attempts", "artifacts")),
        *(("GET", f"/{name}") for name in ("adapter", "artifacts/adapter_config.json")),
    ]:
        body: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
        answer = client.request(method, f"/jobs/{job_id}{path}", **body)
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found"), path
    assert client.get("/jobs").json()["data"] == []
    assert client.get("/queue").json()["data"] == []
    assert client.get(f"/jobs?after={job_id}").json()["code"] == "invalid_cursor"


def test_a_patch_changes_what_it_names(client, world):
    job = create(client, world, name="old", tags={"a": "b"}, priority=3)
    path = f"/jobs/{job['id']}"

    changed = client.patch(path, json={"name": None, "tags": {"c": "d"}, "notes": "hm"}).json()
    raised = client.patch(path, json={"priority": 9}).json()

    assert changed == {**job, "name": None, "tags": {"c": "d"}, "notes": "hm"}
    assert raised == {**changed, "priority": 9}
    assert client.get(path).json() == raised
    assert client.patch(path, json={}).json() == raised


@pytest.mark.parametrize(
    ("patch", "pointer", "code"),
    [
        ({"nam": "x"}, "/nam", "unknown_field"),
        ({"status": "succeeded"}, "/status", "unknown_field"),
        ({"priority": 1000}, "/priority", "out_of_range"),
        ({"priority": None}, "/priority", "wrong_type"),
        ({"tags": None}, "/tags", "wrong_type"),
        ({"tags": {"": "x"}}, "/tags/", "wrong_length"),
        ({"notes": "x" * 10_001}, "/notes", "wrong_length"),
    ],
)
def test_a_wrong_patch_changes_nothing(client, world, patch, pointer, code):
    job = create(client, world)

    answer = client.patch(f"/jobs/{job['id']}", json=patch)

    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [(pointer, code)]
    assert client.get(f"/jobs/{job['id']}").json() == job


def test_priority_matters_only_while_a_job_waits(client, world):
    job_id = create(client, world)["id"]
    world.claim()

    refused = client.patch(f"/jobs/{job_id}", json={"priority": 1})
    renamed = client.patch(f"/jobs/{job_id}", json={"priority": 0, "name": "x"})

    assert (refused.status_code, refused.json()["code"]) == (409, "job_already_started")
    assert refused.json()["current"] == "running"
    assert renamed.status_code == 200


def test_a_waiting_job_is_cancelled_at_once(client, world):
    ready = create(client, world)["id"]
    waiting = client.post("/jobs", json={"model": "tiny", "dataset": world.dataset("validating")})

    for job_id in (ready, waiting.json()["id"]):
        answer = client.post(f"/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert answer.json()["finished_at"]
        assert answer.json()["queue"] is None
        assert client.post(f"/jobs/{job_id}/cancel").json() == answer.json()


def test_a_running_job_is_asked_to_stop(client, world, sessions):
    job_id = create(client, world)["id"]
    lease = world.claim()

    answer = client.post(f"/jobs/{job_id}/cancel")
    client.post(f"/jobs/{job_id}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (200, "running")
    assert answer.json()["status_reason"] == "cancel_requested"
    with transaction(sessions) as session:
        assert session.get_one(Job, job_id).desired == "cancel"
    events = client.get(f"/jobs/{job_id}/events").json()["data"]
    assert [event["message"] for event in events].count("cancel requested") == 1
    world.finish(lease, JobStatus.CANCELLED)
    ended = client.get(f"/jobs/{job_id}").json()
    assert (ended["status"], ended["status_reason"]) == ("cancelled", None)


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED])
def test_an_ended_job_cannot_be_cancelled(client, world, status):
    job_id = create(client, world)["id"]
    world.finish(world.claim(), status)

    answer = client.post(f"/jobs/{job_id}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "job_not_cancellable")
    assert (answer.json()["current"], answer.json()["allowed"]) == (status, ["delete"])


def test_only_ended_jobs_are_deleted_and_with_all_they_left(client, world, settings):
    job_id = create(client, world)["id"]
    lease = world.claim()
    run_dir = settings.runs_dir / job_id / str(lease.epoch)
    run_dir.mkdir(parents=True)

    refused = client.delete(f"/jobs/{job_id}")
    world.succeed(lease)
    world.storage.write(f"logs/{job_id}/{lease.epoch}.log", [b"x"])
    deleted = client.delete(f"/jobs/{job_id}")

    assert (refused.status_code, refused.json()["code"]) == (409, "job_not_final")
    assert (refused.json()["current"], refused.json()["allowed"]) == ("running", ["cancel"])
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert client.get(f"/jobs/{job_id}").status_code == 404
    assert client.get(f"/jobs/{job_id}/events").status_code == 404
    assert list(world.storage.keys(f"artifacts/{job_id}")) == []
    assert list(world.storage.keys(f"logs/{job_id}")) == []
    assert not run_dir.parent.exists()


def test_a_running_job_tells_how_far_it_is(client, world):
    job_id = create(client, world)["id"]
    lease = world.claim()
    progress = {"step": 5, "max_steps": 10, "epoch": 0.5, "fraction": 0.5, "tokens_seen": 99}
    progress |= {"tokens_per_second": 3.5, "eta_seconds": 7.0}
    metrics = {"train_loss": 1.5}
    world.say(lease, Entry("progress"), progress=progress, metrics=metrics, phase="training")

    job = client.get(f"/jobs/{job_id}").json()

    assert (job["status"], job["phase"], job["attempt"]) == ("running", "training", 1)
    assert (job["progress"], job["metrics"], job["queue"]) == (progress, metrics, None)
    world.finish(lease)
    ended = client.get(f"/jobs/{job_id}").json()
    assert ended["progress"] == {**progress, "eta_seconds": None}


def test_a_failed_job_tells_why(client, world):
    job_id = create(client, world)["id"]
    failure = {
        "class": "user",
        "code": "diverged",
        "message": "The loss is NaN.",
        "evidence": "step 3",
        "hint": "Lower the learning rate.",
        "retryable": False,
        "suggested_patch": {"training": {"learning_rate": 1e-5}},
    }
    world.finish(world.claim(), JobStatus.FAILED, failure=failure)

    job = client.get(f"/jobs/{job_id}").json()

    assert (job["status"], job["status_reason"]) == ("failed", "diverged")
    assert job["failure"] == failure


def test_a_last_page_that_is_full_is_the_last(client, world):
    ids = [create(client, world)["id"] for _ in range(4)][::-1]

    pages = [client.get(f"/jobs?limit=2{after}").json() for after in ("", f"&after={ids[1]}")]

    assert [job["id"] for page in pages for job in page["data"]] == ids
    assert [page["has_more"] for page in pages] == [True, False]
