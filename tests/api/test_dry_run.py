"""POST /jobs?dry_run=true: reports what a job would do and creates nothing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.core.settings import Settings
from tests.api.world import ROWS, World
from tests.stacks import ROOT

pytestmark = pytest.mark.slow

SAMPLE = ROOT / "examples/models/tunesmith-tiny"


@pytest.fixture
def model(settings: Settings) -> Iterator[str]:
    folder = settings.models_dir / "sample"
    shutil.copytree(SAMPLE, folder)
    yield "sample"
    shutil.rmtree(folder)


@pytest.fixture
def plan(client: TestClient, world: World, model: str) -> Any:
    def ask(status: int = 200, /, **spec: Any) -> Any:
        body = {"model": model, **spec}
        body.setdefault("dataset", world.dataset())
        answer = client.post("/jobs?dry_run=true", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def store(world: World, rows: list[dict[str, Any]]) -> str:
    dataset = world.dataset()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    world.storage.write(f"datasets/{dataset}/rows.jsonl", [lines.encode()])
    return dataset


def kept(settings: Settings) -> list[Path]:
    store = Path(settings.store_url.removeprefix("file://"))
    return sorted((store / "layouts").glob("*.json"))


def codes(plan: Any) -> set[str]:
    return {each["code"] for each in plan["warnings"]}


def test_a_plan_has_all_its_parts_and_creates_nothing(
    client: TestClient, world: World, model: str
) -> None:
    body = {"model": model, "dataset": world.dataset(), "validation": {"fraction": 0.2}}
    before = world.count()

    key = {"Idempotency-Key": "one"}
    answer = client.post("/jobs?dry_run=true", json=body, headers=key)

    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert set(told) == {
        *("spec", "dataset", "validation", "steps", "steps_per_epoch", "memory", "disk_bytes"),
        *("seconds", "warnings", "rows_per_step", "learning_rate"),
    }
    assert told["rows_per_step"] == 4
    assert told["learning_rate"] == {
        "first": 2e-4,
        "highest": 2e-4,
        "last": pytest.approx(2e-4 / told["steps"]),
    }
    assert told["spec"]["training"]["learning_rate"] == 2e-4
    assert told["dataset"]["rows"] == len(ROWS)
    assert told["dataset"]["trained_rows"] == len(ROWS) - told["validation"]["rows"]
    assert told["dataset"]["trained_tokens"] < told["dataset"]["tokens"]
    assert told["steps"] == -(-told["dataset"]["trained_rows"] // 4)
    assert world.count() == before
    # The dry run did not use up the idempotency key.
    assert client.post("/jobs", json={**body, "name": "x"}, headers=key).status_code == 201


def test_a_plan_of_the_same_content_is_not_laid_out_again(plan, world, settings) -> None:
    one, other = world.dataset(), world.dataset()

    first = plan(dataset=one)
    [file] = kept(settings)
    written = file.stat().st_mtime_ns
    second = plan(dataset=other, training={"learning_rate": 1e-4}, lora={"r": 4})

    assert {**first["dataset"], "id": other} == second["dataset"]
    assert [each.stat().st_mtime_ns for each in kept(settings)] == [written]


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"max_length": 64}},
        {"training": {"packing": False}},
        {"train_on": "all"},
        {"on_invalid_row": "skip"},
        {"on_long_prompt": "error"},
        {"on_long_row": "drop"},
        {"max_skip_share": 0.2},
        {"validation": {"fraction": 0.2}},
        {"template": "chatml"},
    ],
    ids=str,
)
def test_what_changes_the_layout_is_laid_out_anew(plan, world, settings, change) -> None:
    dataset = world.dataset()
    plan(dataset=dataset)

    plan(dataset=dataset, **change)

    assert len(kept(settings)) == 2


def test_the_same_bytes_read_by_other_columns_are_other_rows(plan, world, settings) -> None:
    plan(dataset=world.dataset())
    plan(dataset=world.dataset(columns={"output": "instruction"}))

    assert len(kept(settings)) == 2


def test_a_spec_is_refused_as_a_job_would_be(client: TestClient, world: World, model: str) -> None:
    good = world.dataset()
    for body in (
        {"model": model, "dataset": good, "lora": {"r": 0}},
        {"model": model, "dataset": good, "learning_rat": 1},
        {"model": "sampel", "dataset": good},
        {"model": model, "dataset": "ds_none"},
        {"model": model, "dataset": world.dataset("invalid")},
        {"model": model, "dataset": good, "recipe": "none"},
        {"model": model, "dataset": good, "training": {"max_length": 100_000}},
    ):
        real, dry = (client.post(path, json=body) for path in ("/jobs", "/jobs?dry_run=true"))
        assert real.status_code == dry.status_code == 422
        told = [{k: v for k, v in each.json().items() if k != "instance"} for each in (real, dry)]
        assert told[0] == told[1]


def test_a_dataset_that_is_still_judged_is_asked_for_again(client, world, model) -> None:
    body = {"model": model, "dataset": world.dataset("validating")}

    answer = client.post("/jobs?dry_run=true", json=body)

    assert (answer.status_code, answer.json()["code"]) == (409, "dataset_validating")
    assert answer.headers["retry-after"]


def test_counting_that_takes_longer_than_a_request_goes_on(
    client: TestClient, world: World, model: str, settings: Settings
) -> None:
    layouts = client.app.state.adapters.layouts  # type: ignore[attr-defined]
    body = {"model": model, "dataset": world.dataset()}
    layouts.wait_seconds, before = 0.0, layouts.wait_seconds
    try:
        answer = client.post("/jobs?dry_run=true", json=body)
    finally:
        layouts.wait_seconds = before

    assert (answer.status_code, answer.json()["code"]) == (409, "dataset_measuring")
    assert answer.headers["retry-after"]
    assert client.post("/jobs?dry_run=true", json=body).status_code == 200
    assert len(kept(settings)) == 1


def test_a_base_that_is_not_here_yet_leaves_out_what_it_decides(
    client: TestClient, world: World, settings: Settings
) -> None:
    from app.main import create_app

    away = settings.model_copy(update={"allowed_models": frozenset({"owner/name@" + "0" * 40})})
    with TestClient(create_app(away)) as other:
        body = {"model": "owner/name", "dataset": world.dataset(), "validation": {"fraction": 0.2}}
        answer = other.post("/jobs?dry_run=true", json=body)

    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["dataset"]["rows"] == len(ROWS)
    assert [told[name] for name in ("steps", "memory", "disk_bytes")] == [None] * 3
    assert told["dataset"]["tokens"] is told["seconds"]["estimate"] is None
    assert "model_not_fetched" in codes(told)


def test_what_a_job_would_fail_with_is_refused_with_its_code(plan, world) -> None:
    long = store(world, [*ROWS, {"instruction": "word " * 400, "output": "x"}])

    short = {"dataset": long, "training": {"max_length": 128}}
    refused = plan(422, **short, on_long_prompt="error")

    assert refused["code"] == refused["errors"][0]["code"] == "prompt_too_long"
    assert refused["errors"][0]["pointer"] == "/training/max_length"
    assert plan(422, **short, max_skip_share=0.01)["code"] == "prompt_too_long"
    left_out = plan(**short)
    assert left_out["dataset"]["long_prompt_rows"] == 1
    assert "rows_dropped" in codes(left_out)


def test_a_layer_that_is_none_is_refused(plan) -> None:
    refused = plan(422, lora={"target_modules": ["q_proj", "no_such"]})

    assert refused["code"] == "target_modules_invalid"
    assert refused["suggested_patch"] == {"lora": {"target_modules": "all-linear"}}


@pytest.mark.parametrize("modules", ["all-linear", ["in_proj", "out_proj"]])
def test_a_state_space_model_is_refused_with_the_layers_that_fit(
    client: TestClient, world: World, settings: Settings, model: str, modules: Any
) -> None:
    folder = settings.models_dir / "mamba"
    shutil.copytree(settings.models_dir / model, folder, dirs_exist_ok=True)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_type": "mamba"}))
    spec = {"model": "mamba", "dataset": world.dataset(), "lora": {"target_modules": modules}}

    for path in ("/jobs", "/jobs?dry_run=true"):
        answer = client.post(path, json=spec)

        assert answer.status_code == 422
        refused = answer.json()
        assert refused["errors"][0]["pointer"] == "/lora/target_modules"
        assert "incompatible with Mamba-based models (model_type='mamba')" in refused["detail"]
        fitting = ["in_proj", "x_proj"] if modules == "all-linear" else ["in_proj"]
        assert refused["suggested_patch"] == {"lora": {"target_modules": fitting}}
    shutil.rmtree(folder)


def test_copies_on_both_sides_of_a_split_are_told(plan, world) -> None:
    twice = store(world, ROWS * 8)

    told = plan(dataset=twice, validation={"fraction": 0.2})

    assert told["validation"]["overlap_rows"] == told["validation"]["rows"] == 40
    assert told["dataset"]["duplicate_rows"] == 7 * len(ROWS)
    assert {"duplicate_rows", "validation_overlap"} <= codes(told)


def test_a_held_out_dataset_is_told_with_what_it_shares(plan, world) -> None:
    held_out = store(world, [*ROWS[:3], {"instruction": "Say 5", "output": "five"}])

    told = plan(validation={"dataset": held_out})["validation"]

    assert (told["id"], told["rows"]) == (held_out, 4)
    assert (told["overlap_rows"], told["overlap_prompts"]) == (3, 4)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"lora": {"r": 17}}, "/lora/r", "rank_above_default"),
        ({"training": {"learning_rate": 0.1}}, "/training/learning_rate", "learning_rate_unusual"),
        (
            {"training": {"gradient_accumulation_steps": 9}},
            "/training/per_device_train_batch_size",
            "batch_large",
        ),
        ({"training": {"num_train_epochs": 17}}, "/training/num_train_epochs", "epochs_many"),
        ({"training": {"max_steps": 500}}, "/training/max_steps", "epochs_many"),
        ({"recipe": "xgen-7b-alpaca"}, "/recipe", "recipe_departs"),
        ({"validation": {"fraction": 0.2}}, "/validation", "validation_small"),
        ({}, "/dataset", "rows_few"),
    ],
)
def test_what_is_unwise_is_told_with_its_place(plan, change, pointer, code) -> None:
    assert (pointer, code) in {(w["pointer"], w["code"]) for w in plan(**change)["warnings"]}


def test_a_licence_that_restricts_is_told_of_data_and_base(plan, world, settings, model) -> None:
    card = "---\nlanguage: en\nlicense: llama3.1\n---\n# A base\n"
    (settings.models_dir / model / "README.md").write_text(card)
    source = {"type": "hub", "repo": "o/n", "license": "cc-by-nc-4.0", "files": []}

    told = plan(dataset=world.dataset(source=source))["warnings"]

    found = {w["pointer"]: w["message"] for w in told if w["code"] == "license_restricts"}
    assert found.keys() == {"/dataset", "/model"}
    assert "commercial" in found["/dataset"]
    assert plan(dataset=world.dataset(source={**source, "license": "cc-by-4.0"}))
