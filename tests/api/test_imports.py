"""Imports over HTTP, from a fake hub that serves the hub's API to the real client library."""

import hashlib
import json
import socket
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.core.db.models import NOW, Dataset
from app.core.db.session import transaction
from app.core.events.notifier import Notifier
from app.core.queue import WorkerQueue
from app.main import create_app
from tests.core.datasets.hub import FIRST, ROWS, SECOND, DatasetHub
from tests.core.models.standins import serve
from worker.housekeeper.hub_imports import MAX_TRIES, MAX_WRONG, Imports
from worker.housekeeper.intake import Intake

REPO = "tatsu-lab/alpaca"
ALPACA = [{"instruction": f"Say {n}", "input": "", "output": str(n)} for n in range(5)]
TEXT = json.dumps(ALPACA).encode()
CARD = {"license": "cc-by-nc-4.0"}


@pytest.fixture(scope="module")
def hub() -> Iterator[DatasetHub]:
    with serve(DatasetHub()) as server:
        yield server


@pytest.fixture(scope="module")
def app_client(api_settings, hub) -> Iterator[TestClient]:
    ours = api_settings.model_copy(update={"hub_endpoint": hub.url})
    with TestClient(create_app(ours), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def settings(settings, hub):
    return settings.model_copy(update={"hub_endpoint": hub.url})


@pytest.fixture
def client(settings, hub, app_client) -> TestClient:
    for known in (hub.commits, hub.branches, hub.cards, hub.served, hub.refusals):
        known.clear()
    hub.asked.clear()
    hub.put(REPO, {"README.md": b"#", "alpaca.json": TEXT}, CARD)
    return app_client


@pytest.fixture
def imports(settings, world) -> Imports:
    return Imports(settings, world.sessions, world.storage)


@pytest.fixture
def intake(settings, world) -> Intake:
    redis_url = str(settings.redis_url)
    return Intake(
        settings, world.sessions, world.storage, WorkerQueue(redis_url), Notifier(redis_url)
    )


def post(client, repo: str = REPO, key: str | None = None, name=None, columns=None, **source):
    body = {"source": {"type": "hub", "repo": repo, **source}, "name": name, "columns": columns}
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/datasets/import", json=body, headers=headers)


def judged(client, imports, intake, dataset: str) -> dict:
    while imports.take_one() or intake.take_one():
        pass
    return client.get(f"/datasets/{dataset}").json()


def lapse(world) -> None:
    with transaction(world.sessions) as session:
        session.execute(update(Dataset).values(lease_until=None))


def test_alpaca_is_imported_at_one_commit_with_its_licence(client, imports, intake, world):
    answer = post(client, name="alpaca")

    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert answer.headers["location"] == f"/datasets/{told['id']}"
    assert (told["status"], told["name"], told["sha256"]) == ("validating", "alpaca", None)
    assert told["num_bytes"] == len(TEXT)
    source = told["source"]
    blob = hashlib.sha1(b"blob %d\0" % len(TEXT) + TEXT).hexdigest()
    assert (source["repo"], source["split"], source["config"]) == (REPO, "train", None)
    assert source["revision"] == FIRST
    assert source["license"] == "cc-by-nc-4.0"
    assert "excludes commercial use" in source["license_note"]
    assert source["files"] == [{"path": "alpaca.json", "bytes": len(TEXT), "digest": f"git:{blob}"}]
    early = client.get(f"/datasets/{told['id']}/content")
    assert (early.status_code, early.json()["code"]) == (409, "dataset_validating")

    ready = judged(client, imports, intake, told["id"])

    assert (ready["status"], ready["num_rows"], ready["format"]) == ("ready", 5, "json")
    names = ("instruction", "input", "output")
    assert list(ready["features"].items()) == [(name, "Value('string')") for name in names]
    assert ready["sha256"] == hashlib.sha256(TEXT).hexdigest()
    assert ready["source"] == source
    assert client.get("/datasets").json()["data"] == [ready]
    path = f"/datasets/{told['id']}"
    assert client.get(f"{path}/rows").json()["data"] == ALPACA
    content = client.get(f"{path}/content")
    assert content.content == TEXT
    assert 'filename="alpaca.json"' in content.headers["content-disposition"]
    assert f"{path[1:]}/files/00000" in list(world.storage.keys(""))


def test_what_a_branch_does_after_the_import_changes_nothing(client, imports, intake, hub):
    dataset = post(client).json()["id"]
    hub.put(REPO, {"alpaca.json": b"[]"}, CARD, commit=SECOND)

    assert judged(client, imports, intake, dataset)["num_rows"] == 5
    again = post(client, revision=FIRST).json()
    assert again["source"]["revision"] == FIRST
    assert again["name"] == REPO
    assert post(client).json()["source"]["revision"] == SECOND


def test_several_files_are_read_in_order(client, imports, intake, hub):
    more = b'{"instruction": "Last", "output": "z"}\n'
    files = {"data/train-00000-of-00002-a.jsonl": ROWS, "data/train-00001-of-00002-b.jsonl": more}
    hub.put("team/shards", files)
    told = post(client, "team/shards").json()

    ready = judged(client, imports, intake, told["id"])

    assert (ready["status"], ready["num_rows"]) == ("ready", 3)
    assert (ready["num_bytes"], ready["sha256"]) == (
        len(ROWS + more),
        hashlib.sha256(ROWS + more).hexdigest(),
    )
    path = f"/datasets/{told['id']}"
    assert client.get(f"{path}/rows?offset=2").json()["data"][0]["output"] == "z"
    several = client.get(f"{path}/content")
    assert (several.status_code, several.json()["code"]) == (409, "several_files")
    assert [client.get(f"{path}/content?file={n}").content for n in (0, 1)] == [ROWS, more]
    gone = client.get(f"{path}/content?file=2")
    assert (gone.status_code, gone.json()["code"]) == (404, "file_not_found")


def test_columns_of_the_repository_are_mapped(client, imports, intake, hub):
    hub.put("team/qa", {"qa.jsonl": b'{"q": "2+2?", "a": "4"}\n'})
    told = post(client, "team/qa", columns={"instruction": "q", "output": "a"}).json()

    assert told["columns"] == {"instruction": "q", "output": "a"}
    assert judged(client, imports, intake, told["id"])["status"] == "ready"
    rows = client.get(f"/datasets/{told['id']}/rows").json()["data"]
    assert rows == [{"instruction": "2+2?", "output": "4"}]


@pytest.mark.parametrize(
    ("license_", "part"),
    [
        ("mit", None),
        ("cc-by-4.0", None),
        ("apache-2.0", None),
        ("cc-by-nc-sa-4.0", "excludes commercial use"),
        ("fair-noncommercial-research-license", "excludes commercial use"),
        (None, "names no licence"),
    ],
)
def test_a_licence_that_asks_for_care_gets_a_note(client, hub, license_, part):
    hub.put("team/x", {"x.jsonl": ROWS}, {"license": license_} if license_ else {})

    note = post(client, "team/x").json()["source"]["license_note"]

    assert note is None if part is None else part in note


def test_the_same_key_imports_once_and_asks_the_hub_once(client, hub, world):
    first = post(client, key="k")
    hub.refusals[REPO] = (503, {})
    again, other = post(client, key="k"), post(client, key="k", split="test")

    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(hub.asked) == 1
    assert world.count()[2] == 1


@pytest.mark.parametrize(
    ("source", "pointer", "code"),
    [
        ({"repo": "alpaca"}, "/source/repo", "hub_repo_invalid"),
        ({"repo": "a/../b"}, "/source/repo", "hub_repo_invalid"),
        ({"repo": ""}, "/source/repo", "wrong_length"),
        ({"repo": 7}, "/source/repo", "wrong_type"),
        ({"repo": REPO, "split": "train[:10%]"}, "/source/split", "hub_split_invalid"),
        ({"repo": REPO, "split": "test"}, "/source/split", "hub_split_unknown"),
        ({"repo": REPO, "revision": "v9"}, "/source/revision", "hub_revision_unknown"),
        ({"repo": REPO, "config": "x"}, "/source/config", "hub_config_unknown"),
        ({"repo": "no/such"}, "/source/repo", "hub_repo_unknown"),
        ({"repo": REPO, "type": "url"}, "/source/type", "not_allowed"),
        ({"repo": REPO, "trust_remote_code": True}, "/source/trust_remote_code", "unknown_field"),
    ],
)
def test_what_cannot_be_imported_is_told_at_its_place(client, world, source, pointer, code):
    answer = client.post("/datasets/import", json={"source": {"type": "hub", **source}})

    assert answer.status_code == 422, answer.text
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [(pointer, code)]
    assert world.count() == (0, 0, 0)


@pytest.mark.parametrize("columns", [{}, {"nope": "q"}, {"instruction": ""}])
def test_a_wrong_mapping_is_refused_before_the_hub_is_asked(client, hub, columns):
    answer = post(client, columns=columns)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/columns")
    assert not hub.asked


def test_a_split_over_the_limit_is_too_large(client, hub, settings):
    hub.put("team/big", {"big.jsonl": b"x" * (settings.max_upload_bytes + 1)})

    answer = post(client, "team/big")

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_machine_without_network_says_what_to_do(settings, api_settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        offline = api_settings.model_copy(update={"hub_endpoint": endpoint})
        with TestClient(create_app(offline), raise_server_exceptions=False) as client:
            answer = post(client)

    assert (answer.status_code, answer.json()["code"]) == (503, "hub_unavailable")
    assert "or upload the file" in answer.json()["detail"]
    assert answer.headers["retry-after"]


def test_a_hub_that_is_away_for_a_while_costs_nothing(client, imports, intake, hub, world):
    dataset = post(client).json()["id"]
    hub.refusals[REPO] = (503, {})
    for _ in range(MAX_TRIES - 1):
        assert imports.take_one()
        assert not imports.take_one(), "taken before the claim expired"
        lapse(world)
    hub.refusals.clear()

    assert judged(client, imports, intake, dataset)["status"] == "ready"


def _away(hub) -> tuple[int, str]:
    hub.refusals[REPO] = (503, {})
    return MAX_TRIES, "hub_unavailable"


def _wrong(hub) -> tuple[int, str]:
    hub.served["alpaca.json"] = TEXT.replace(b"Say", b"say")
    return MAX_WRONG, "hub_file_wrong"


def _refused(hub) -> tuple[int, str]:
    hub.refusals[REPO] = (403, {"X-Error-Code": "GatedRepo"})
    return 1, "hub_import_refused"


@pytest.mark.parametrize("fault", [_away, _wrong, _refused])
def test_an_import_that_cannot_come_ends_with_a_report(client, imports, intake, hub, world, fault):
    dataset = post(client).json()["id"]
    job = client.post("/jobs", json={"model": "tiny", "dataset": dataset}).json()["id"]
    tries, code = fault(hub)
    for _ in range(tries):
        assert client.get(f"/datasets/{dataset}").json()["status"] == "validating"
        assert imports.take_one()
        lapse(world)

    assert judged(client, imports, intake, dataset)["status"] == "invalid"
    report = client.get(f"/datasets/{dataset}/report").json()
    [problem] = report["problems"]
    assert (problem["code"], problem["severity"]) == (code, "error")
    assert problem["hint"]
    assert client.get(f"/jobs/{job}").json()["failure"]["code"] == "dataset_invalid"
    assert client.get(f"/datasets/{dataset}/rows").json()["data"] == []
    assert client.get(f"/datasets/{dataset}/content").json()["code"] == "content_missing"
    assert not [key for key in world.storage.keys("") if "/files/" in key]


def test_files_already_stored_are_not_fetched_again(client, imports, intake, hub, world):
    files = {f"data/train-0000{n}-of-00003-a.jsonl": ROWS for n in range(3)}
    hub.put("team/shards", files)
    dataset = post(client, "team/shards").json()["id"]
    hub.served["data/train-00002-of-00003-a.jsonl"] = b"not yet"
    imports.take_one()
    hub.served.clear()
    hub.asked.clear()
    # The state that a killed housekeeper leaves: a claim that expires.
    with transaction(world.sessions) as session:
        session.execute(update(Dataset).values(lease_until=NOW))

    assert judged(client, Imports(imports.settings, world.sessions, world.storage), intake, dataset)

    assert [path.rpartition("/")[2] for path in hub.asked] == ["train-00002-of-00003-a.jsonl"]
    assert client.get(f"/datasets/{dataset}").json()["num_rows"] == 6


def test_an_import_deleted_while_it_is_fetched_leaves_nothing(client, imports, hub, world):
    dataset = post(client).json()["id"]
    fetch = imports.fetch

    def deleted_meanwhile(*arguments) -> None:
        client.delete(f"/datasets/{dataset}")
        fetch(*arguments)

    imports.fetch = deleted_meanwhile
    assert imports.take_one()

    assert list(world.storage.keys("")) == []
    assert client.get(f"/datasets/{dataset}").status_code == 404


def test_an_import_that_waits_for_the_hub_keeps_no_upload_waiting(client, imports, intake, hub):
    post(client)
    upload = client.post("/datasets", files={"file": ("rows", ROWS)}).json()["id"]

    assert intake.take_one()

    assert client.get(f"/datasets/{upload}").json()["status"] == "ready"
