"""POST refuses what is known to make the job fail at its start, as the dry run does."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.stacks import ROOT

pytestmark = pytest.mark.slow

SAMPLE = ROOT / "examples/models/tunesmith-tiny"
PATCH = {"lora": {"target_modules": "all-linear"}}
ARCHITECTURES = {
    "gpt_neox": ("gpt_neox.embed_in", "gpt_neox.layers.0.attention.query_key_value"),
    "opt": ("model.decoder.embed_tokens", "model.decoder.layers.0.self_attn.q_proj"),
    "falcon": ("transformer.word_embeddings", "transformer.h.0.self_attention.query_key_value"),
    "made_up": ("body.wte", "body.blocks.0.mixer.in_proj"),
}


@pytest.fixture
def make_model(settings):
    """A folder of any architecture: real files, but only two tensors."""
    made = []

    def make(kind: str, modules: tuple[str, ...]) -> str:
        folder = settings.models_dir / kind
        shutil.copytree(SAMPLE, folder)
        made.append(folder)
        config = json.loads((folder / "config.json").read_text()) | {"model_type": kind}
        (folder / "config.json").write_text(json.dumps(config))
        write_tensors(folder / "model.safetensors", [f"{each}.weight" for each in modules])
        return kind

    yield make
    for folder in made:
        shutil.rmtree(folder)


def write_tensors(path: Path, names: list[str]) -> None:
    header = {
        name: {"dtype": "F32", "shape": [2, 2], "data_offsets": [16 * at, 16 * at + 16]}
        for at, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16 * len(names)))


def both(client: Any, body: dict[str, Any]) -> list[Any]:
    return [client.post(path, json=body) for path in ("/jobs", "/jobs?dry_run=true")]


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("targets", [["nonsense"], ["embed_tokens"], ["lm_head"]])
def test_layers_that_no_adapter_can_have_are_refused_for_every_architecture(
    client, world, make_model, kind, targets
):
    model = make_model(kind, ARCHITECTURES[kind])
    body = {"model": model, "dataset": world.dataset(), "lora": {"target_modules": targets}}

    posted, planned = both(client, body)

    assert posted.status_code == planned.status_code == 422
    for answer in (posted, planned):
        assert answer.json()["code"] == "target_modules_invalid"
        assert answer.json()["suggested_patch"] == PATCH
        own = ARCHITECTURES[kind][1].rpartition(".")[2]
        assert f"This model has {own};" in answer.json()["errors"][0]["hint"]


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_layers_that_are_in_the_files_are_accepted(client, world, make_model, kind):
    model = make_model(kind, ARCHITECTURES[kind])
    own = ARCHITECTURES[kind][1].rpartition(".")[2]
    body = {"model": model, "dataset": world.dataset(), "lora": {"target_modules": [own]}}

    assert client.post("/jobs", json=body).status_code == 201


def test_a_dataset_that_is_still_checked_does_not_hide_a_wrong_layer(client, world, make_model):
    model = make_model("gpt_neox", ARCHITECTURES["gpt_neox"])
    dataset = world.dataset("validating")
    body = {"model": model, "dataset": dataset, "lora": {"target_modules": ["q_proj"]}}

    assert client.post("/jobs", json=body).json()["code"] == "target_modules_invalid"


def test_experts_which_are_renamed_as_they_are_loaded_are_not_guessed(client, world, make_model):
    model = make_model("made_up", ("model.layers.0.moe.experts.0.w1",))
    body = {"model": model, "dataset": world.dataset(), "lora": {"target_modules": ["gate_proj"]}}

    assert client.post("/jobs", json=body).status_code == 201


def test_what_a_dry_run_has_counted_is_refused_at_post_too(client, world, settings):
    shutil.copytree(SAMPLE, settings.models_dir / "sample", dirs_exist_ok=True)
    try:
        rows = [{"instruction": "word " * 400, "output": "x"}] * 9
        dataset = world.dataset()
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        world.storage.write(f"datasets/{dataset}/rows.jsonl", [lines])
        body = {"model": "sample", "dataset": dataset, "training": {"max_length": 128}}

        assert client.post("/jobs", json=body).status_code == 201  # not counted yet
        planned = client.post("/jobs?dry_run=true", json=body)
        posted = client.post("/jobs", json=body)
    finally:
        shutil.rmtree(settings.models_dir / "sample")

    assert posted.status_code == planned.status_code == 422
    told = [{k: v for k, v in each.json().items() if k != "instance"} for each in (posted, planned)]
    assert told[0] == told[1]
    assert told[0]["code"] in {"prompt_too_long", "no_trained_tokens"}


@pytest.mark.parametrize(
    ("training", "pointer"),
    [
        ({"eval_steps": 5}, "/training/eval_steps"),
        ({"early_stopping_patience": 2}, "/training/early_stopping_patience"),
        ({"load_best": True}, "/training/load_best"),
        ({"lr_scheduler_type": "polynomial", "learning_rate": 1e-7}, "/training/learning_rate"),
        ({"save_strategy": "steps"}, "/training"),
        ({"save_strategy": "epoch", "save_steps": 5}, "/training"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(client, world, training, pointer):
    body = {"model": "tiny", "dataset": world.dataset(), "training": training}

    for answer in both(client, body):
        assert answer.status_code == 422
        assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


def test_an_interval_alone_means_steps(client, world):
    body = {"model": "tiny", "dataset": world.dataset(), "training": {"save_steps": 5}}

    made = client.post("/jobs", json=body).json()

    assert made["training"]["save_strategy"] == "steps"
