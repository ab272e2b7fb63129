"""An invalid spec is rejected with a pointer to each problem, before anything is stored."""

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel

from app.api.requests.nearest import inner as inner_of
from app.core.jobs.spec import JobSpec, LoraSpec, TrainingSpec


class Missing:
    """Stands for a field that is left out; its name in a test's id is the same in every process."""

    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()
EVERY_FIELD = "GET /openapi.json lists every field of JobSpec."
DESCRIPTIONS = re.findall(r'"description": "([^"]{15,})', json.dumps(JobSpec.model_json_schema()))
"""Descriptions of fields up to the first quote; no error message repeats them."""
SAME: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just({})
)

# pointer, value, code
WRONG: list[tuple[str, Any, str]] = [
    ("/model", MISSING, "missing"),
    ("/model", None, "wrong_type"),
    ("/model", 7, "wrong_type"),
    ("/model", "", "wrong_length"),
    ("/model", "x" * 201, "wrong_length"),
    ("/model", "tinny", "model_unknown"),
    ("/model", "../tiny", "model_unknown"),
    ("/model_revision", "main", "wrong_format"),
    ("/dataset", MISSING, "missing"),
    ("/dataset", "ds_nope", "dataset_unknown"),
    ("/dataset", ["x"], "wrong_type"),
    ("/validation", {}, "invalid_combination"),
    ("/validation", {"fraction": 0.1, "dataset": "ds_x"}, "invalid_combination"),
    ("/validation/fraction", 0, "out_of_range"),
    ("/validation/fraction", 0.6, "out_of_range"),
    ("/validation/dataset", "ds_nope", "dataset_unknown"),
    ("/recipe", "defualt", "recipe_unknown"),
    ("/name", "", "wrong_length"),
    ("/name", "x" * 201, "wrong_length"),
    ("/name", "a\0b", "wrong_format"),
    ("/tags", {f"k{n}": "v" for n in range(17)}, "wrong_length"),
    ("/tags/a", 1, "wrong_type"),
    ("/tags/a", "v" * 513, "wrong_length"),
    ("/priority", 101, "out_of_range"),
    ("/priority", -101, "out_of_range"),
    ("/priority", 1.5, "wrong_type"),
    ("/priority", True, "wrong_type"),
    ("/template", "alpacca", "template_unknown"),
    ("/template", "", "wrong_length"),
    ("/template", 7, "wrong_type"),
    ("/train_on", "answer", "not_allowed"),
    ("/quantization", "int4", "not_allowed"),
    ("/lora", None, "wrong_type"),
    ("/lora/r", 0, "out_of_range"),
    ("/lora/r", 513, "out_of_range"),
    ("/lora/r", "16", "wrong_type"),
    ("/lora/r", 1e400, "wrong_type"),
    ("/lora/lora_alpha", 0, "out_of_range"),
    ("/lora/lora_dropout", 1, "out_of_range"),
    ("/lora/lora_dropout", -0.1, "out_of_range"),
    ("/lora/lora_dropout", float("nan"), "not_finite"),
    ("/lora/target_modules", "some", "not_allowed"),
    ("/lora/target_modules", [], "not_allowed"),
    ("/lora/target_modules/1", ["q_proj", "a b"], "wrong_format"),
    ("/lora/use_dora", 1, "wrong_type"),
    ("/training/num_train_epochs", 0, "out_of_range"),
    ("/training/num_train_epochs", 101, "out_of_range"),
    ("/training/max_steps", 0, "out_of_range"),
    ("/training/per_device_train_batch_size", 0, "out_of_range"),
    ("/training/gradient_accumulation_steps", 0, "out_of_range"),
    ("/training/learning_rate", 0, "out_of_range"),
    ("/training/learning_rate", 1e6, "out_of_range"),
    ("/training/learning_rate", float("nan"), "not_finite"),
    ("/training/learning_rate", float("inf"), "not_finite"),
    ("/training/learning_rate", "2e-4", "wrong_type"),
    ("/training/lr_scheduler_type", "cosin", "not_allowed"),
    ("/training/warmup_ratio", 1, "out_of_range"),
    ("/training/weight_decay", -1, "out_of_range"),
    ("/training/max_grad_norm", 0, "out_of_range"),
    ("/training/optim", "adam", "not_allowed"),
    ("/training/max_length", 7, "out_of_range"),
    ("/training/max_length", 257, "max_length_too_long"),
    ("/training/max_length", 10**30, "out_of_range"),
    ("/training/precision", "fp16", "not_allowed"),
    ("/training/neftune_noise_alpha", 0, "out_of_range"),
    ("/training/logging_steps", 0, "out_of_range"),
    ("/training/save_total_limit", 1, "out_of_range"),
    ("/training/seed", -1, "out_of_range"),
    ("/training/seed", 2**31, "out_of_range"),
    ("/training", {"save_strategy": "steps"}, "invalid_combination"),
    ("/training", {"save_steps": 5, "save_strategy": "epoch"}, "invalid_combination"),
    ("/training/early_stopping_patience", 1, "invalid_combination"),
    ("/template", "chat", "template_unfit"),
    ("/on_invalid_row", "ignore", "not_allowed"),
    ("/max_skip_share", -0.01, "out_of_range"),
    ("/max_skip_share", 1.01, "out_of_range"),
    ("/max_skip_share", "all", "wrong_type"),
    ("/sample_prompts", ["x"] * 17, "wrong_length"),
    ("/sample_prompts/0", [""], "wrong_length"),
    ("/limits/max_seconds", 0, "out_of_range"),
    ("/limits/max_retries", 11, "out_of_range"),
    ("", {"template": "text"}, "invalid_combination"),
]


def put(spec: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    """Return the spec with a value at a pointer, or at its parent if the value is a whole list."""
    *parents, last = pointer.split("/")[1:] or [""]
    if last == "":
        return {**spec, **value}
    if last.isdecimal():
        *parents, last = parents
    inner = spec
    for parent in parents:
        inner = inner.setdefault(parent, {})
    if value is MISSING:
        del inner[last]
    else:
        inner[last] = value
    return spec


def post(client, spec):
    headers = {"Content-Type": "application/json"}
    return client.post("/jobs", content=json.dumps(spec), headers=headers)


@pytest.mark.parametrize(("pointer", "value", "code"), WRONG, ids=lambda value: str(value)[:40])
def test_each_wrong_value_is_pointed_at(client, world, pointer, value, code):
    spec = put({"model": "tiny", "dataset": world.dataset()}, pointer, value)
    before = world.count()

    answer = post(client, spec)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    errors = answer.json()["errors"]
    assert [(one["pointer"], one["code"]) for one in errors] == [(pointer, code)], answer.text
    assert all(one["message"] and one["hint"] for one in errors)
    assert "Input should" not in answer.text
    assert len(DESCRIPTIONS) > 40
    assert not [each for each in DESCRIPTIONS if each in answer.text]
    assert world.count() == before


def test_everything_wrong_is_told_at_once(client, world):
    schema = post(client, {"model": 1, "lora": {"r": 0, "x": 1}, "training": {"seed": -1}})
    checks = post(
        client,
        {
            "model": "nope",
            "dataset": "ds_no",
            "validation": {"dataset": "ds_neither"},
        },
    )

    assert {one["pointer"] for one in schema.json()["errors"]} == {
        "/model",
        "/dataset",
        "/lora/r",
        "/lora/x",
        "/training/seed",
    }
    assert [one["pointer"] for one in checks.json()["errors"]] == [
        "/model",
        "/dataset",
        "/validation/dataset",
    ]
    assert world.count() == (0, 0, 0)


@pytest.mark.parametrize(
    ("pointer", "hint"),
    [
        ("/training/learning_rat", "Did you mean `training.learning_rate`?"),
        ("/learning_rat", "Did you mean `training.learning_rate`?"),
        ("/lora/rank", "Did you mean `lora.r`?"),
        ("/training/epochs", "Did you mean `training.num_train_epochs`?"),
        ("/batch_size", "Did you mean `training.per_device_train_batch_size`?"),
        ("/training/lr", "Did you mean `training.learning_rate`?"),
        ("/lora/alpha", "Did you mean `lora.lora_alpha`?"),
        ("/max_seq_length", "Did you mean `training.max_length`?"),
        ("/base_model", "Did you mean `model`?"),
        ("/training_file", "Did you mean `dataset`?"),
        ("/status", EVERY_FIELD),
        ("/lora/lora_alfa", "Did you mean `lora.lora_alpha`?"),
        ("/modle", "Did you mean `model`?"),
        ("/learning_rate", "Did you mean `training.learning_rate`?"),
        ("/training/lora_dropout", "Did you mean `lora.lora_dropout`?"),
        ("/validation/fractoin", "Did you mean `validation.fraction`?"),
        ("/zzz", EVERY_FIELD),
        ("/a~1b~0c", EVERY_FIELD),
    ],
)
def test_an_unknown_field_is_told_the_nearest_name(client, pointer, hint):
    name = pointer.split("/")[-1].replace("~1", "/").replace("~0", "~")
    spec: dict[str, Any] = {
        "model": "tiny",
        "dataset": "x",
        "training": {},
        "lora": {},
        "validation": {},
    }
    *parents, _ = pointer.split("/")[1:]
    inner = spec
    for parent in parents:
        inner = inner[parent]
    inner[name] = 1

    answer = post(client, spec)

    unknown = [one for one in answer.json()["errors"] if one["code"] == "unknown_field"]
    assert [(one["pointer"], one["hint"]) for one in unknown] == [(pointer, hint)]


@pytest.mark.parametrize(
    ("pointer", "value", "message", "hint"),
    [
        (
            "/training/learning_rate",
            7,
            "too large.",
            "Use a number that is above 0 and at most 1.",
        ),
        ("/lora/r", 0, "too small.", "Use an integer that is at least 1 and at most 512."),
        ("/training/max_steps", 0, "too small.", "Use an integer that is at least 1."),
        ("/lora", [], "This must be an object.", 'Write a JSON object: {"name": value}.'),
        ("/model_revision", "main", "wrong format.", "Use a commit hash of 40 hexadecimal digits."),
        ("/quantization", "int", "allowed.", 'Did you mean "int8"? Allowed: "none", "int8", "nf4"'),
        ("/model", MISSING, "`model` is missing.", "Add `model` (a string)."),
        ("/tags/a", 1, "This must be a string.", "Write a JSON string, in double quotes."),
        ("/validation", {}, "be combined.", "Set either `fraction` or `dataset`."),
        ("/lora/target_modules", 1, "Or: This must be an array.", 'Allowed: "all-linear". Or: '),
        ("/training/weight_decay", float("nan"), "not finite.", "at least 0 and at most 1."),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_is_told_in_plain_words(client, pointer, value, message, hint):
    spec = put({"model": "tiny", "dataset": "x"}, pointer, value)

    (error,) = post(client, spec).json()["errors"]

    assert error["message"].endswith(message)
    assert hint in error["hint"]


def test_parameters_are_told_in_plain_words_too(client):
    def told(path):
        (error,) = client.get(path).json()["errors"]
        return error["pointer"], error["code"], error["hint"]

    assert told("/jobs?limit=0") == ("?limit", "out_of_range", "Use a number that is at least 1.")
    assert told("/jobs?limit=x")[:2] == ("?limit", "wrong_type")
    pointer, code, hint = told("/jobs?status=done")
    assert (pointer, code) == ("?status", "not_allowed")
    assert "'succeeded'" in hint


OBJECTS: list[tuple[str, type[BaseModel]]] = [
    ("", JobSpec),
    *((f"/{name}", inner) for name in JobSpec.model_fields if (inner := inner_of(JobSpec, name))),
]


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(OBJECTS), st.text(min_size=1, max_size=12), SAME)
def test_an_unknown_field_anywhere_is_pointed_at(client, place, name, value):
    parent, model = place
    if name in model.model_fields or "\0" in name or not name.isprintable():
        return
    spec: dict[str, Any] = {"model": "tiny", "dataset": "ds_x"}
    (spec.setdefault(parent[1:], {}) if parent else spec)[name] = value

    answer = post(client, spec)

    expected = f"{parent}/{name.replace('~', '~0').replace('/', '~1')}"
    found = [one["pointer"] for one in answer.json()["errors"] if one["code"] == "unknown_field"]
    assert answer.status_code == 422
    assert found == [expected]


def test_a_foreign_dataset_is_unknown(client, world):
    foreign = world.dataset(project=world.project())

    answer = post(client, {"model": "tiny", "dataset": foreign})

    assert (answer.status_code, answer.json()["code"]) == (422, "dataset_unknown")
    assert answer.json()["errors"][0]["pointer"] == "/dataset"
    assert world.count()[0] == 0


def test_the_nearest_model_and_recipe_are_named(client, world):
    spec = {"model": "tinny", "dataset": world.dataset()}

    assert "tiny" in post(client, spec).json()["errors"][0]["hint"]
    spec = {"model": "tiny", "dataset": spec["dataset"], "recipe": "xgen-7b-alpacca"}
    assert "xgen-7b-alpaca" in post(client, spec).json()["errors"][0]["hint"]


def test_an_invalid_dataset_is_refused_with_its_first_problems(client, world):
    spec = {"model": "tiny", "dataset": world.dataset("invalid", num_valid_rows=24)}

    refused = post(client, spec)
    skipped = post(client, {**spec, "on_invalid_row": "skip"})

    assert (refused.status_code, refused.json()["code"]) == (422, "dataset_invalid")
    errors = refused.json()["errors"]
    assert {one["pointer"] for one in errors} == {"/dataset"}
    assert "skip" in errors[0]["hint"]
    assert errors[1]["code"] == "missing_output"
    assert "row 3 (line 4)" in errors[1]["message"]
    assert skipped.status_code == 201
    assert skipped.json()["status"] == "queued"


def test_stopping_early_is_taken_with_a_validation_part(client, world):
    spec = {"model": "tiny", "dataset": world.dataset(), "validation": {"fraction": 0.1}}

    training = {"early_stopping_patience": 1, "load_best": True}
    answer = post(client, {**spec, "training": training})

    assert answer.status_code == 201, answer.text


def test_the_last_adapter_may_be_asked_for_without_validation(client, world):
    spec = {"model": "tiny", "dataset": world.dataset(), "training": {"load_best": False}}

    answer = post(client, spec)

    assert answer.status_code == 201, answer.text
    assert answer.json()["stopped_by"] is None


def test_a_dataset_without_the_templates_column_is_pointed_at(client, world):
    rows, texts = (world.dataset(features={name: "string"}) for name in ("instruction", "text"))

    def pointers(**spec):
        return [one["pointer"] for one in post(client, {"model": "tiny", **spec}).json()["errors"]]

    assert pointers(dataset=texts) == ["/template"]
    assert pointers(dataset=rows, validation={"dataset": texts}) == ["/validation/dataset"]


def test_skipping_needs_rows_that_are_left(client, world):
    spec = {"model": "tiny", "dataset": world.dataset("invalid", num_valid_rows=0)}

    assert post(client, {**spec, "on_invalid_row": "skip"}).json()["code"] == "dataset_invalid"


def test_a_default_length_is_lowered_to_the_models(client, world):
    dataset = world.dataset()
    lengths = [
        post(client, {"model": model, "dataset": dataset}).json()["training"]["max_length"]
        for model in ("tiny", "roomy")
    ]

    assert lengths == [256, 1024]


def test_a_length_the_model_just_reads_is_taken(client, world):
    spec = {"model": "tiny", "dataset": world.dataset(), "training": {"max_length": 256}}

    assert post(client, spec).json()["training"]["max_length"] == 256


def test_the_table_covers_every_bound():
    """A field that gets a bound must get a case in WRONG."""
    told = {pointer for pointer, _, _ in WRONG}
    for section, schema in (("lora", LoraSpec), ("training", TrainingSpec)):
        for name, field in schema.model_json_schema()["properties"].items():
            forms = [field, *field.get("anyOf", [])]
            bounded = any("imum" in key or key == "enum" for form in forms for key in form)
            known = {"save_steps", "eval_steps", "early_stopping_patience", "save_strategy"}
            if bounded and name not in known:
                assert f"/{section}/{name}" in told
