from typing import Any

import pytest
from safetensors.torch import load

from tests.training.bench import Bench, Outcome, sum_rows


@pytest.fixture(scope="module")
def sparse(shared_bench: Bench) -> Outcome:
    """One finished run of ten steps: evaluated and logged every fourth, never saved."""
    training = {"max_steps": 10, "eval_steps": 4, "logging_steps": 4, "save_strategy": "no"}
    return shared_bench.run(shared_bench.plan(validation={"fraction": 0.2}, training=training))


def test_a_validation_dataset_of_its_own_is_evaluated_and_never_trained(bench: Bench):
    training = {"load_best": False}
    plan = bench.plan(sum_rows(8), validation={"dataset": "other"}, training=training)

    outcome = bench.run(plan)

    assert outcome.status == 0
    assert len(outcome.of("eval")) == 2
    only_training = bench.run(bench.plan(sum_rows(8)))
    assert outcome.of("artifact")[0]["chosen"] == "last"
    # Dropout draws are as without evaluation, which leaves the random state unchanged.
    assert outcome.adapter == only_training.adapter


def test_eval_steps_and_the_last_step_are_evaluated(sparse: Outcome):
    assert [each["step"] for each in sparse.of("eval")] == [4, 8, 10]


def test_training_stops_early_when_validation_no_longer_improves(bench: Bench):
    training = {
        "learning_rate": 0.05,  # far too high: validation soon gets worse
        "num_train_epochs": 50,
        "early_stopping_patience": 2,
        "save_strategy": "epoch",
    }
    plan = bench.plan(validation={"fraction": 0.3}, training=training)
    outcome = bench.run(plan)

    assert outcome.status == 0
    losses = [each["values"]["valid_loss"] for each in outcome.of("eval")]
    assert len(losses) < 50
    assert len(losses) - 1 - losses.index(min(losses)) == 2
    steps = [each["step"] for each in outcome.of("eval")]
    assert [each["step"] for each in outcome.of("checkpoint")] == steps
    best = [each["step"] for each in outcome.of("checkpoint") if each["best"]]
    assert best[-1] == steps[losses.index(min(losses))]

    # Resumed from where it stopped, training is over: only the artifact can be missing.
    folder = str(outcome.run_dir / "checkpoints")
    resumed = bench.run(plan.model_copy(update={"resume_from": [folder]}))
    assert resumed.of("metrics") == []
    assert resumed.adapter == outcome.adapter


def test_logging_steps_thin_the_metrics_and_the_last_step_is_always_there(sparse: Outcome):
    assert [each["step"] for each in sparse.of("metrics")] == [1, 4, 8, 10]


def test_without_saving_there_is_an_artifact_and_no_checkpoint(sparse: Outcome):
    assert sparse.status == 0
    assert sparse.of("checkpoint") == []
    assert sparse.adapter


def test_rows_that_lost_something_are_warned_of_with_their_numbers(bench: Bench):
    long = [{"instruction": "Say much", "output": "many words " * 30}]
    plan = bench.plan(sum_rows(3) + long, training={"packing": False})

    outcome = bench.run(plan)

    assert outcome.status == 0
    assert outcome.warnings == ["rows_truncated", "eos_lost", "tokens_lost"]
    messages = {
        each["data"]["code"]: each["message"]
        for each in outcome.reports
        if each["type"] == "warning"
    }
    assert messages["eos_lost"].startswith("1 of 4 rows lost the end-of-sequence token")
    assert "(rows 3, counted from 0)" in messages["eos_lost"]


def test_trained_tokens_are_those_with_a_label_times_the_epochs(bench: Bench, tokenizer: Any):
    rows = sum_rows(6)
    outcome = bench.run(bench.plan(rows, training={"num_train_epochs": 3}))

    answers = tokenizer([row["output"] for row in rows], add_special_tokens=False)["input_ids"]
    each_epoch = sum(len(ids) + 1 for ids in answers)  # with its EOS
    assert outcome.of("artifact")[0]["trained_tokens"] == 3 * each_epoch


def test_accumulated_small_batches_teach_what_one_large_batch_does(bench: Bench):
    """Each token has the same weight, however the rows of a step are split into batches."""
    weights = []
    for batch_size, steps in ((4, 1), (1, 4)):
        training = {
            "packing": False,
            "optim": "sgd",  # its update is the gradient
            "per_device_train_batch_size": batch_size,
            "gradient_accumulation_steps": steps,
        }
        outcome = bench.run(bench.plan(lora={"lora_dropout": 0.0}, training=training))
        weights.append(load(outcome.adapter))

    large, small = weights
    for name in large:
        assert (large[name] - small[name]).abs().max() < 1e-6
    # B starts at zero, so its values are what was learned.
    assert max(large[name].abs().max() for name in large if "lora_B" in name) > 1e-4
