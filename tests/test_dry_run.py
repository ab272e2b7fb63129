"""Over HTTP, on the sample model: a dry run, then the job it predicted."""

import pytest

from tests import spine


@pytest.fixture(scope="module")
def client(stack):
    with stack.client(timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def dataset(client):
    return spine.upload(client)


def test_a_job_does_what_its_dry_run_said(client, dataset):
    training = {"max_steps": None, "num_train_epochs": 1, "save_strategy": "no", "save_steps": None}
    body = spine.spec(
        dataset, training=training, validation={"fraction": 0.02}, lora={"r": 20}, tags={"a": "b"}
    )

    plan = client.post("/jobs?dry_run=true", json=body).json()
    job = spine.finished(client, spine.submit(client, body))

    assert job["status"] == "succeeded", job["failure"]
    assert plan["spec"] == {name: job[name] for name in plan["spec"]}
    assert job["progress"]["max_steps"] == plan["steps"]
    assert job["trained_tokens"] == plan["dataset"]["trained_tokens"]
    assert job["progress"]["tokens_seen"] == plan["dataset"]["tokens"]
    events = client.get(f"/jobs/{job['id']}/events?type=warning").json()["data"]
    reported = {(each["data"]["pointer"], each["data"]["code"]) for each in events}
    assert reported == {(each["pointer"], each["code"]) for each in plan["warnings"]}
    assert {"rank_above_default", "validation_small"} <= {code for _, code in reported}


def test_a_job_fails_at_its_start_with_the_code_of_its_dry_run(client, dataset):
    body = spine.spec(dataset, training={"max_length": 32, "packing": False})

    job = spine.finished(client, spine.submit(client, body))  # nobody has counted its tokens yet
    refused = client.post("/jobs?dry_run=true", json=body)

    assert (refused.status_code, refused.json()["code"]) == (422, "prompt_too_long")
    assert job["failure"]["code"] == "prompt_too_long"
    assert job["failure"]["message"] == refused.json()["errors"][0]["message"]
    assert job["failure"]["suggested_patch"] == refused.json()["suggested_patch"]
    assert job["progress"] is None or job["progress"]["step"] == 0
    assert client.post("/jobs", json=body).json()["code"] == "prompt_too_long"
