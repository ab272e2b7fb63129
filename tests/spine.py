"""One job over HTTP, as a client runs it; shared by end-to-end and fault tests."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.stacks import ROOT
from tests.waiting import wait_until

MODEL = next(path.name for path in sorted((ROOT / "examples/models").iterdir()) if path.is_dir())
TRAIN = ROOT / "examples/data/tickets_train.json"
FINAL = {"succeeded", "failed", "cancelled"}


def upload(client: httpx.Client, path: Path = TRAIN, name: str = "tickets") -> str:
    """Upload a dataset, wait until it is ready, and return its id."""
    with path.open("rb") as file:
        answer = client.post("/datasets", files={"file": (path.name, file)}, data={"name": name})
    assert answer.status_code == 201, answer.text
    dataset = answer.json()["id"]
    wait_until(lambda: client.get(f"/datasets/{dataset}").json()["status"] != "validating", 30)
    assert client.get(f"/datasets/{dataset}").json()["status"] == "ready"
    return dataset


def spec(dataset: str, **overrides: Any) -> dict[str, Any]:
    """The spec of a job that takes seconds: few steps, each with a checkpoint."""
    training = {
        "max_steps": 8,
        "per_device_train_batch_size": 2,
        "max_length": 256,
        "save_strategy": "steps",
        "save_steps": 1,
        **overrides.pop("training", {}),
    }
    return {"model": MODEL, "dataset": dataset, "training": training, **overrides}


def submit(client: httpx.Client, body: Mapping[str, Any]) -> str:
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def finished(client: httpx.Client, job: str, timeout: float = 180) -> dict[str, Any]:
    """Wait, through outages, until the job is final, and return it."""

    def look() -> dict[str, Any] | None:
        answer = reach(client, f"/jobs/{job}")
        return answer if answer and answer["status"] in FINAL else None

    return wait_until(look, timeout, every=0.1)


def reach(client: httpx.Client, path: str) -> dict[str, Any] | None:
    """GET the path; None while the server is unavailable."""
    try:
        answer = client.get(path)
    except httpx.TransportError:
        return None
    return answer.json() if answer.status_code == 200 else None


def follow(client: httpx.Client, job: str, after: int = 0) -> Iterator[tuple[int, str, Any]]:
    """Yield (seq, type, event) from the job's stream until it ends."""
    headers = {"Last-Event-ID": str(after)} if after else {}
    with client.stream("GET", f"/jobs/{job}/stream", headers=headers) as answer:
        assert answer.status_code == 200
        seq, kind = after, ""
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                seq = int(value)
            elif name == "event":
                kind = value
            elif name == "data":
                yield seq, kind, json.loads(value)
