"""Uploads in parts: in any order, resumable, and no dataset before everything is verified."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import update

from app.core.db.models import NOW, PartialUpload
from app.core.db.session import transaction
from app.core.ids import new_id
from app.services import partial_uploads, parts
from app.services.caller import Caller
from tests.api.test_intake import intake, judge  # noqa: F401

ROWS = b"".join(b'{"instruction": "Say %d", "output": "%d"}\n' % (n, n) for n in range(100))
PIECES = [ROWS[:1000], ROWS[1000:1001], ROWS[1001:]]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def announce(client, content: bytes = ROWS, headers=None, **changes):
    body = {"name": "rows", "num_bytes": len(content), "sha256": digest(content), **changes}
    return client.post("/datasets/uploads", json=body, headers=headers or {})


def begin(client, content: bytes = ROWS) -> str:
    answer = announce(client, content)
    assert answer.status_code == 201, answer.text
    return f"/datasets/uploads/{answer.json()['id']}"


def send(client, path: str, number: int, content: bytes, **headers):
    return client.put(f"{path}/parts/{number}", content=content, headers=headers)


def send_all(client, path: str) -> None:
    for number, piece in enumerate(PIECES, 1):
        assert send(client, path, number, piece).status_code == 200


def objects(world) -> list[str]:
    return list(world.storage.keys(""))


def test_an_upload_is_announced(client):
    answer = announce(client, format="jsonl", sha256=digest(ROWS).upper())

    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert answer.headers["location"] == f"/datasets/uploads/{told['id']}"
    assert told["id"].startswith("upl_")
    assert (told["parts"], told["received_bytes"], told["dataset"]) == ([], 0, None)
    assert (told["num_bytes"], told["sha256"]) == (len(ROWS), digest(ROWS))
    assert told["part_bytes"] == 64 << 20
    assert told["expires_at"][:10] > told["created_at"][:10]
    assert client.get(answer.headers["location"]).json() == told


def test_parts_in_any_order_become_one_dataset(client, world):
    path = begin(client)
    for number in (3, 1, 2):
        answer = send(client, path, number, PIECES[number - 1])
        piece = PIECES[number - 1]
        told = {"number": number, "num_bytes": len(piece), "sha256": digest(piece)}
        assert (answer.status_code, answer.json()) == (200, told)
        assert world.count() == (0, 0, 0)
    known = client.get(path).json()

    answer = client.post(f"{path}/complete")

    assert [part["number"] for part in known["parts"]] == [1, 2, 3]
    assert known["received_bytes"] == len(ROWS)
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert answer.headers["location"] == f"/datasets/{dataset['id']}"
    assert (dataset["status"], dataset["name"]) == ("validating", "rows")
    assert (dataset["num_bytes"], dataset["sha256"]) == (len(ROWS), digest(ROWS))
    assert client.get(f"{answer.headers['location']}/content").content == ROWS
    assert objects(world) == [f"datasets/{dataset['id']}/upload"]
    assert client.get(path).json()["dataset"] == dataset["id"]


def test_completing_again_gives_the_same_dataset(client, world):
    path = begin(client)
    send_all(client, path)
    first, again = (client.post(f"{path}/complete") for _ in range(2))

    assert again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert world.count()[2] == 1


def test_many_who_complete_at_once_make_one_dataset(client, world):
    path = begin(client)
    send_all(client, path)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.post(f"{path}/complete")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} <= {201, 409}
    refused = [answer for answer in answers if answer.status_code == 409]
    assert {answer.json()["code"] for answer in refused} <= {"upload_completing"}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert world.count()[2] == 1
    assert len(objects(world)) == 1


def test_two_processes_that_complete_at_once_make_one_dataset(client, world, settings):
    """Neither request sees that the other is completing the upload."""
    path = begin(client)
    send_all(client, path)
    caller = Caller("proj_default", "anonymous")
    answers = []

    def complete() -> None:
        answer = partial_uploads.complete(
            world.sessions,
            world.storage,
            caller,
            path.rpartition("/")[2],
            under_way=partial_uploads.UnderWay(),
            render=lambda dataset: {"id": dataset.id},
        )
        answers.append(answer.body["id"])

    threads = [threading.Thread(target=complete) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # One may have arrived after the other had deleted the parts.
    assert len(set(answers)) == 1
    assert world.count()[2] == 1
    assert objects(world) == [f"datasets/{answers[0]}/upload"]


def test_a_part_sent_again_is_replaced(client, world):
    path = begin(client)
    send_all(client, path)
    send(client, path, 2, b"?")
    spoiled = client.get(path).json()["parts"][1]["sha256"]
    refused = client.post(f"{path}/complete")
    kept = objects(world)

    send(client, path, 2, PIECES[1])
    answer = client.post(f"{path}/complete")

    assert spoiled == digest(b"?")
    assert (refused.status_code, refused.json()["code"]) == (422, "upload_mismatch")
    assert [part["number"] for part in refused.json()["parts"]] == [1, 2, 3]
    assert digest(ROWS) in refused.json()["detail"]
    assert len(kept) == 6
    assert not any(key.startswith("datasets/") for key in kept)
    assert answer.status_code == 201


@pytest.mark.parametrize("numbers", [(), (1,), (1, 2), (2, 3), (1, 3)])
def test_what_is_not_all_there_is_not_completed_and_not_lost(client, world, numbers):
    path = begin(client)
    for number in numbers:
        send(client, path, number, PIECES[number - 1])

    answer = client.post(f"{path}/complete")

    assert (answer.status_code, answer.json()["code"]) == (409, "upload_incomplete")
    assert [part["number"] for part in answer.json()["parts"]] == list(numbers)
    assert answer.json()["num_bytes"] == len(ROWS)
    assert world.count() == (0, 0, 0)
    assert client.get(path).json()["parts"] == answer.json()["parts"]
    send_all(client, path)
    assert client.post(f"{path}/complete").status_code == 201


def test_parts_may_not_bring_more_than_was_promised(client, world):
    path = begin(client)
    send(client, path, 1, PIECES[0])
    before = objects(world)

    answer = send(client, path, 2, ROWS[1000:] + b"x")

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.json()["limit"] == len(ROWS) - 1000
    assert objects(world) == before
    assert send(client, path, 1, ROWS).status_code == 200


def test_an_upload_over_the_limit_is_refused_at_once(client, settings):
    answer = announce(client, num_bytes=settings.max_upload_bytes + 1)

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert announce(client, num_bytes=settings.max_upload_bytes).status_code == 201


def test_a_part_is_held_to_its_content_digest(client, world):
    path = begin(client)
    right = base64.b64encode(hashlib.sha256(PIECES[0]).digest()).decode()
    wrong = base64.b64encode(bytes(32)).decode()

    def put(value: str):
        return send(client, path, 1, PIECES[0], **{"Content-Digest": value})

    refused = put(f"sha-256=:{wrong}:")
    kept = objects(world)
    taken = put(f"sha-512=:{wrong}:, sha-256=:{right}:")

    assert (refused.status_code, refused.json()["code"]) == (422, "upload_mismatch")
    assert kept == []
    assert taken.status_code == 200
    for bad in ("sha-256=abc", f"sha-512=:{wrong}:", "sha-256=:AAAA:", "sha-256=:!:", ""):
        answer = put(bad)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "header:Content-Digest"


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"name": ""}, "/name", "wrong_length"),
        ({"name": "x" * 201}, "/name", "wrong_length"),
        ({"name": "a\0"}, "/name", "wrong_format"),
        ({"format": "cvs"}, "/format", "not_allowed"),
        ({"num_bytes": 0}, "/num_bytes", "out_of_range"),
        ({"num_bytes": "7"}, "/num_bytes", "wrong_type"),
        ({"sha256": "0" * 63}, "/sha256", "wrong_format"),
        ({"num_byte": 1}, "/num_byte", "unknown_field"),
    ],
)
def test_what_is_announced_wrongly_is_refused(client, changes, pointer, code):
    answer = announce(client, **changes)

    assert answer.status_code == 422, answer.text
    assert (pointer, code) in [(e["pointer"], e["code"]) for e in answer.json()["errors"]]


@pytest.mark.parametrize("number", ["0", "10001", "-1", "one"])
def test_a_part_has_a_number(client, number):
    answer = client.put(f"{begin(client)}/parts/{number}", content=b"x")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "path:number"


def test_the_same_key_announces_once(client):
    headers = {"Idempotency-Key": "k"}
    first, again = (announce(client, headers=headers) for _ in range(2))
    other = announce(client, headers=headers, name="other")

    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_an_upload_can_be_dropped(client, world):
    path = begin(client)
    send_all(client, path)

    assert client.delete(path).status_code == 204

    assert objects(world) == []
    for answer in (
        client.get(path),
        client.delete(path),
        client.post(f"{path}/complete"),
        send(client, path, 1, b"x"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "upload_not_found")


def test_dropping_a_completed_upload_leaves_its_dataset(client):
    path = begin(client)
    send_all(client, path)
    dataset = client.post(f"{path}/complete").headers["location"]

    late = send(client, path, 1, PIECES[0])

    assert (late.status_code, late.json()["code"]) == (409, "upload_completed")
    assert late.json()["dataset"] == dataset.rpartition("/")[2]
    assert client.delete(path).status_code == 204
    assert client.get(f"{dataset}/content").content == ROWS


def test_nobody_sees_the_uploads_of_another_project(client, world):
    path = begin(client)
    with transaction(world.sessions) as session:
        session.execute(update(PartialUpload).values(project_id=world.project()))

    assert client.get(path).status_code == 404


def test_an_upload_is_gone_after_a_day(client, world):
    path = begin(client)
    with transaction(world.sessions) as session:
        old = NOW - PartialUpload.KEPT_FOR - timedelta(seconds=1)
        session.execute(update(PartialUpload).values(created_at=old))

    assert client.get(path).json()["code"] == "upload_not_found"


def test_a_job_on_an_upload_under_way_is_told_to_complete_it(client, world):
    path = begin(client)
    send(client, path, 1, PIECES[0])
    upload = path.rpartition("/")[2]

    early = client.post("/jobs", json={"model": "tiny", "dataset": upload})
    held_out = client.post(
        "/jobs",
        json={"model": "tiny", "dataset": world.dataset(), "validation": {"dataset": upload}},
    )

    for answer in (early, held_out):
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_incomplete")
        assert answer.json()["current"] == "receiving"
        assert "complete it" in answer.json()["detail"]
    assert world.count()[0] == 0


def test_a_job_on_an_upload_that_was_completed_is_told_its_dataset(client):
    path = begin(client)
    send_all(client, path)
    dataset = client.post(f"{path}/complete").json()["id"]

    answer = client.post("/jobs", json={"model": "tiny", "dataset": path.rpartition("/")[2]})

    assert (answer.status_code, answer.json()["code"]) == (422, "dataset_unknown")
    assert dataset in answer.json()["errors"][0]["hint"]
    assert client.post("/jobs", json={"model": "tiny", "dataset": dataset}).status_code == 201


def test_the_contract_says_that_a_part_is_bytes(client):
    paths = json.loads(client.get("/openapi.json").content)["paths"]

    body = paths["/datasets/uploads/{upload_id}/parts/{number}"]["put"]["requestBody"]
    assert list(body["content"]) == ["application/octet-stream"]


def test_columns_are_mapped_like_those_of_an_upload_in_one_request(client, intake):  # noqa: F811
    content = b'{"question": "a", "answer": "b"}\n'
    mapping = {"instruction": "question", "output": "answer"}
    told = announce(client, content, columns=mapping).json()
    path = f"/datasets/uploads/{told['id']}"
    assert send(client, path, 1, content).status_code == 200

    dataset = client.post(f"{path}/complete").json()

    judge(intake)
    assert told["columns"] == dataset["columns"] == mapping
    found = client.get(f"/datasets/{dataset['id']}/rows").json()["data"]
    assert found == [{"instruction": "a", "output": "b"}]


@pytest.mark.parametrize(
    ("columns", "at"),
    [
        ({}, "/columns"),
        ({"weight": "x"}, "/columns/weight"),
        ({"output": ""}, "/columns/output"),
        ({"output": "x" * 501}, "/columns/output"),
        ({"output": 1}, "/columns/output"),
        ({"messages": "x", "output": "y"}, "/columns"),
    ],
)
def test_a_wrong_mapping_is_refused_before_any_part_comes(client, columns, at):
    answer = announce(client, columns=columns)

    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [at]


def test_both_ways_to_upload_take_the_same_formats_and_columns(client):
    contract = client.get("/openapi.json").json()
    form = contract["paths"]["/datasets"]["post"]["requestBody"]["content"]["multipart/form-data"]
    spec = contract["components"]["schemas"]["UploadSpec"]["properties"]

    assert spec["format"]["enum"] == form["schema"]["properties"]["format"]["enum"]
    assert spec["columns"]["anyOf"][0] == form["schema"]["properties"]["columns"]


def test_a_gap_just_before_the_last_part_is_named(client):
    path = begin(client)
    for number in (1, 3):
        send(client, path, number, PIECES[number - 1])

    assert "Parts 2 are missing" in client.post(f"{path}/complete").json()["detail"]


def test_of_two_tries_at_a_part_the_one_begun_last_counts(world):
    """Whichever ends last: an older one that comes in late neither counts nor deletes it."""
    begun: list[str] = []

    def put(number: int, chunks: Iterable[bytes]) -> str:
        return parts.put(world.storage, "upl_1", number, chunks, room=100, sha256=None).key

    def late(number: int) -> Iterator[bytes]:
        yield b"old"
        # Not on the thread that drives this write.
        with ThreadPoolExecutor(1) as another:
            if number == 1:
                another.submit(put, 1, [b"newer"]).result()
            else:
                begun.append(f"uploads/upl_1/2/{new_id('part')}")
                another.submit(world.storage.write, begun[0], [b"coming in"]).result()

    put(1, late(1))
    put(2, late(2))

    first, second = parts.arrived(world.storage, "upl_1")
    assert (first.sha256, second.sha256) == (digest(b"newer"), digest(b"old"))
    assert world.storage.exists(begun[0])
