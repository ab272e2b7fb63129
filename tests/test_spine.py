"""End to end on real parts: upload, submit, follow, download, load in a separate process."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile

import pytest

from tests import spine
from tests.core.datasets.hub import FIRST, DatasetHub
from tests.core.models.standins import serve
from tests.stacks import ROOT
from tests.waiting import wait_until

LOAD = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base = AutoModelForCausalLM.from_pretrained(sys.argv[1])
plain = base(torch.tensor([[1, 2, 3]])).logits.detach().clone()
tuned = PeftModel.from_pretrained(base, sys.argv[2])(torch.tensor([[1, 2, 3]])).logits
print("differs" if not torch.equal(plain, tuned) else "same")
"""


@pytest.fixture(scope="module")
def hub():
    with serve(DatasetHub()) as server:
        yield server


@pytest.fixture(scope="module")
def stack_environment(hub):
    return {"TUNESMITH_HUB_ENDPOINT": hub.url}


@pytest.fixture(scope="module")
def client(stack):
    with stack.client(timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def job(client):
    """A job followed to its end: (job, events of its stream)."""
    dataset = spine.upload(client)
    body = spine.spec(dataset, validation={"fraction": 0.1}, sample_prompts=["Good morning."])
    number = spine.submit(client, body)
    events = list(spine.follow(client, number))
    return client.get(f"/jobs/{number}").json(), events


def test_a_job_succeeds_with_its_numbers(job):
    answered, _ = job

    assert answered["status"] == "succeeded", answered["failure"]
    assert answered["progress"]["step"] == 8
    assert answered["trained_tokens"] > 0
    assert answered["metrics"]["valid_loss"] > 0
    assert answered["environment"]["versions"]["torch"] == "2.13.0"


def test_the_stream_is_gapless_and_ends(job, client):
    answered, events = job
    numbers = [seq for seq, kind, _ in events if kind != "end"]

    assert numbers == list(range(1, len(numbers) + 1))
    assert events[-1][1] == "end"
    half = numbers[len(numbers) // 2]
    again = [seq for seq, kind, _ in spine.follow(client, answered["id"], half) if kind != "end"]
    assert again == numbers[half:]


def test_every_step_is_measured(job, client):
    answered, _ = job
    table = client.get(f"/jobs/{answered['id']}/metrics.csv").text.splitlines()

    header = table[0].split(",")
    steps = [line.split(",")[header.index("step")] for line in table[1:]]
    assert [int(step) for step in steps] == list(range(1, 9))
    assert "train_loss" in header


def test_checkpoints_logs_and_samples_are_served(job, client):
    path = f"/jobs/{job[0]['id']}"
    checkpoints = client.get(f"{path}/checkpoints").json()["data"]

    assert [each["step"] for each in checkpoints if each["kept"]] == [8, 7]
    assert "train_loss" in client.get(f"{path}/logs").text
    [sample] = client.get(f"{path}/samples").json()["data"]
    assert sample["prompt"] == "Good morning."


def test_the_downloaded_adapter_is_what_the_manifest_says_and_loads(job, client, stack, tmp_path):
    path = f"/jobs/{job[0]['id']}"
    answer = client.get(f"{path}/adapter")
    digest = hashlib.sha256(answer.content).hexdigest()
    assert answer.headers["etag"] == f'"{digest}"'
    assert job[0]["artifacts"]["adapter_sha256"] == digest

    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(tmp_path)

    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for entry in manifest["files"]:
        found = (tmp_path / entry["path"]).read_bytes()
        assert hashlib.sha256(found).hexdigest() == entry["sha256"]
    base = ROOT / "examples/models" / spine.MODEL
    done = subprocess.run(
        [sys.executable, "-c", LOAD, base, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "differs"


def test_a_download_resumes_where_it_broke_off(job, client):
    path = f"/jobs/{job[0]['id']}/adapter"
    whole = client.get(path)

    rest = client.get(path, headers={"Range": "bytes=1000-", "If-Range": whole.headers["etag"]})

    assert rest.status_code == 206
    assert rest.content == whole.content[1000:]


def test_a_dataset_comes_from_the_hub_at_one_commit(client, hub):
    hub.put("tatsu-lab/alpaca", {"alpaca.json": spine.TRAIN.read_bytes()}, {"license": "mit"})
    body = {"source": {"type": "hub", "repo": "tatsu-lab/alpaca", "split": "train"}}

    answer = client.post("/datasets/import", json=body)
    assert answer.status_code == 201, answer.text
    path = answer.headers["location"]

    wait_until(lambda: client.get(path).json()["status"] != "validating", 30)

    dataset = client.get(path).json()
    assert (dataset["status"], dataset["num_rows"]) == ("ready", 480)
    assert set(dataset["features"]) == {"instruction", "input", "output"}
    assert (dataset["source"]["revision"], dataset["source"]["license"]) == (FIRST, "mit")
