import json
from typing import Any

import pytest
import torch

from app.core.estimates.precision import precision
from app.core.jobs.protocol import Plan
from app.core.jobs.recipes import RECIPES, resolve
from app.core.jobs.spec import JobSpec, LoraSpec, TrainingSpec
from tests.training.bench import Bench
from worker.training.adapter import Targets
from worker.training.configs import bits_and_bytes, lora_config, sft_config, training_values
from worker.training.plan import fingerprint

SCHEDULED_ELSEWHERE = {
    "max_length",
    "packing",
    "precision",
    "eval_steps",
    "save_strategy",
    "save_steps",
    "early_stopping_patience",
    "load_best",
}
"""Fields of TrainingSpec that `data`, `packing`, `model` and `RunCallback` read themselves."""

OTHER: dict[str, Any] = {
    "num_train_epochs": 7.5,
    "max_steps": 11,
    "per_device_train_batch_size": 13,
    "gradient_accumulation_steps": 3,
    "learning_rate": 3e-5,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.25,
    "weight_decay": 0.125,
    "max_grad_norm": 2.5,
    "optim": "adafactor",
    "gradient_checkpointing": False,
    "neftune_noise_alpha": 5.0,
    "logging_steps": 17,
    "save_total_limit": 5,
    "seed": 1234,
}


def spec_of(**changes: Any) -> JobSpec:
    return JobSpec.model_validate_json(json.dumps({"model": "m", "dataset": "d", **changes}))


def test_every_field_of_the_training_spec_reaches_the_trainer():
    assert OTHER.keys() | SCHEDULED_ELSEWHERE == TrainingSpec.model_fields.keys()
    default = training_values(spec_of(), "cpu")
    for name, value in OTHER.items():
        changed = training_values(spec_of(training={name: value}), "cpu")
        assert changed != default, name
        assert value in changed.values(), name


def test_the_configuration_says_everything_that_library_defaults_may_move(bench: Bench, tmp_path):
    config = sft_config(bench.plan(), tmp_path, "cpu")

    said = {
        "use_cpu": True,
        "bf16": False,
        "fp16": False,
        "activation_checkpointing": True,
        "report_to": [],
        "push_to_hub": False,
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "save_only_model": False,
        "logging_nan_inf_filter": False,
        "trust_remote_code": False,
        "hub_token": None,
        "deepspeed": None,
        "output_dir": str(tmp_path),
    }
    assert {name: getattr(config, name) for name in said} == said
    assert config.optim.value == "adamw_torch"
    assert config.learning_rate == 5e-3
    assert config.get_warmup_steps(1000) == 100  # a share, as `warmup_ratio` was


@pytest.mark.parametrize(
    "smuggled",
    ["output_dir", "deepspeed", "push_to_hub", "report_to", "resume_from_checkpoint", "hub_token"],
)
def test_nothing_outside_the_schema_reaches_a_library(smuggled):
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        spec_of(training={smuggled: "x"})


@pytest.mark.parametrize(
    ("asked", "device", "expected"),
    [
        ("auto", "cpu", "fp32"),
        ("auto", "cuda", "bf16"),
        ("bf16", "cpu", "bf16"),
        ("fp32", "cuda", "fp32"),
    ],
)
def test_precision_is_full_on_a_cpu_and_bf16_on_a_gpu_unless_asked(asked, device, expected):
    assert precision(spec_of(training={"precision": asked}), device) == expected


def test_bf16_trains_on_a_cpu_too(bench: Bench):
    outcome = bench.run(bench.plan(training={"precision": "bf16"}))

    assert outcome.status == 0, outcome.of("error")


def test_every_field_of_the_lora_spec_reaches_peft(bench: Bench):
    asked = {
        "r": 3,
        "lora_alpha": 5,
        "lora_dropout": 0.25,
        "target_modules": ["q_proj"],
        "use_rslora": True,
        "use_dora": True,
    }
    assert asked.keys() == LoraSpec.model_fields.keys()

    targets = Targets(["q_proj"], [], [], 0.0)
    config = lora_config(bench.plan(lora=asked), torch.nn.Linear(1, 1), targets)

    for name, value in asked.items():
        assert getattr(config, name) == (set(value) if isinstance(value, list) else value)
    assert config.task_type == "CAUSAL_LM"
    assert config.init_lora_weights is True


def test_every_variant_of_lora_trains_and_is_proven(bench: Bench):
    lora = {"r": 2, "use_rslora": True, "use_dora": True, "target_modules": ["q_proj", "down_proj"]}
    outcome = bench.run(bench.plan(lora=lora))

    assert outcome.status == 0, outcome.of("error")


def test_quantization_is_as_named():
    assert bits_and_bytes("none", bf16=False) is None
    assert bits_and_bytes("int8", bf16=False).load_in_8bit
    nf4 = bits_and_bytes("nf4", bf16=True)
    assert (nf4.bnb_4bit_quant_type, nf4.bnb_4bit_compute_dtype) == ("nf4", torch.bfloat16)


def test_a_plan_survives_its_file(bench: Bench):
    plan = bench.plan(validation={"fraction": 0.5}, lora={"target_modules": ["q_proj"]})

    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_a_fingerprint_changes_with_what_is_learned_and_with_nothing_else(bench: Bench):
    plan = bench.plan()
    found = fingerprint(plan)
    spec = plan.spec
    for change in ({"name": "x"}, {"priority": 3}, {"sample_prompts": ["a"]}):
        assert (
            fingerprint(plan.model_copy(update={"spec": spec.model_copy(update=change)})) == found
        )
    other = spec.model_copy(update={"train_on": "all"})
    assert fingerprint(plan.model_copy(update={"spec": other})) != found
    rows = plan.rows.model_copy(update={"sha256": "1" * 64})
    assert fingerprint(plan.model_copy(update={"rows": rows})) != found


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_recipe_runs_to_a_proven_adapter_and_tells_where_it_departs(bench: Bench, recipe):
    spec = resolve(spec_of(recipe=recipe, training={"max_length": 128}))
    plan = bench.plan().model_copy(update={"spec": spec})

    outcome = bench.run(plan)

    assert outcome.status == 0, outcome.of("error")
    assert outcome.warnings == ["recipe_departs"] * len(RECIPES[recipe].warnings)


def test_a_recipes_warning_is_not_told_where_the_caller_chose_otherwise(bench: Bench):
    lora = {"target_modules": ["q_proj", "v_proj"]}
    training = {"max_length": 128, "packing": False}
    spec = resolve(spec_of(recipe="xgen-7b-alpaca", lora=lora, training=training))

    outcome = bench.run(bench.plan().model_copy(update={"spec": spec}))

    assert outcome.warnings == ["recipe_departs"]
