"""Idempotency-Key: a repeated request creates one resource and gets the same response."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from sqlalchemy import text

from app.core.db.session import transaction
from app.core.settings import DEFAULT_PROJECT
from app.services import idempotency
from app.services.caller import Caller


@pytest.fixture
def spec(world):
    return {"model": "tiny", "dataset": world.dataset()}


def post(client, spec, key="k1"):
    return client.post("/jobs", json=spec, headers={"Idempotency-Key": key})


def test_the_same_key_and_body_get_the_first_answer_again(client, world, spec):
    first = post(client, spec)
    client.post(f"/jobs/{first.json()['id']}/cancel")
    again = client.post(
        "/jobs",
        content=b'{ "dataset": "%s",\n "model": "tiny" }' % spec["dataset"].encode(),
        headers={"Idempotency-Key": "k1", "Content-Type": "application/json"},
    )

    assert first.status_code == again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert world.count()[0] == 1


def test_the_same_key_with_another_body_is_refused(client, world, spec):
    post(client, spec)
    other = post(client, {**spec, "priority": 1})

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert world.count()[0] == 1


def test_a_refused_request_uses_up_no_key(client, spec):
    assert post(client, {**spec, "model": "nope"}).status_code == 422
    assert post(client, spec).status_code == 201


def test_an_old_key_counts_no_more(client, sessions, spec):
    first = post(client, spec).json()["id"]
    with transaction(sessions) as session:
        session.execute(
            text("UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
        )

    assert post(client, spec).json()["id"] != first


def test_a_second_try_is_told_that_the_first_is_under_way(client, sessions, spec):
    caller = Caller("proj_default", "anonymous")
    attempt = idempotency.Attempt("POST /jobs", "k1", "0" * 64)
    with sessions() as session:
        idempotency.once(session, caller, attempt, lambda: {"id": "job_1"})
        second = post(client, spec)
        session.rollback()

    assert (second.status_code, second.json()["code"]) == (409, "idempotency_in_progress")
    assert second.headers["retry-after"] == "1"
    assert post(client, spec).status_code == 201


def test_many_at_once_make_one_job(client, world, spec):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(client, spec), range(40)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert world.count()[0] == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "with space"])
def test_a_key_has_a_form(client, spec, key):
    answer = post(client, spec, key)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "header:Idempotency-Key"


def test_an_upload_is_kept_once(client, world):
    def put(content: bytes):
        return client.post(
            "/datasets", files={"file": ("a", content)}, headers={"Idempotency-Key": "u1"}
        )

    first, again, other = put(b"[1]"), put(b"[1]"), put(b"[2]")

    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert list(world.storage.keys("")) == [f"datasets/{first.json()['id']}/upload"]
    assert world.count()[2] == 1


@pytest.mark.parametrize(
    "changed", [{"name": "b"}, {"format": "json"}, {"columns": '{"text":"t"}'}]
)
def test_an_upload_of_the_same_bytes_with_another_field_is_another_body(client, changed):
    def post(fields):
        files, headers = {"file": ("a", b"[1]")}, {"Idempotency-Key": "u1"}
        return client.post("/datasets", files=files, data={"name": "a", **fields}, headers=headers)

    first, other = post({}), post(changed)

    assert (first.status_code, other.status_code) == (201, 422)
    assert other.json()["code"] == "idempotency_key_reused"


def test_a_key_is_remembered_by_project_and_route(world, sessions):
    mine, theirs = (Caller(project, "x") for project in (DEFAULT_PROJECT, world.project()))
    tries = [(mine, "POST /jobs"), (theirs, "POST /jobs"), (mine, "POST /datasets")]

    def once(session, number):
        caller, route = tries[number]
        attempt = idempotency.Attempt(route, "k1", "0" * 64)
        answer = idempotency.once(session, caller, attempt, lambda: {"id": f"made_{number}"})
        return answer.body["id"], answer.is_replay

    with ExitStack() as at_once:
        open_ones = [at_once.enter_context(transaction(sessions)) for _ in tries]
        first = [once(session, number) for number, session in enumerate(open_ones)]
    with transaction(sessions) as session:
        again = [once(session, number) for number in range(3)]

    assert first == [(f"made_{number}", False) for number in range(3)]
    assert again == [(f"made_{number}", True) for number in range(3)]
