"""A batch is a number of rows: how they lie in memory changes neither steps nor gradients."""

import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from app.core.datasets.layout.described import describe
from tests.training.bench import sum_rows
from worker.training.data import load_splits
from worker.training.packing import IGNORED, Example, collator, micro_batches, rows_of

SAME = {"lora": {"lora_dropout": 0.0}}
LONG = {"instruction": "Say much", "output": "many words " * 40}


def trained(bench, rows, **training):
    plan = bench.plan(rows, training={"save_strategy": "no", "max_length": 256, **training}, **SAME)
    outcome = bench.run(plan)
    assert outcome.status == 0, outcome.of("error")
    adapter = load_file(outcome.run_dir / "artifact/adapter_model.safetensors")
    return outcome.logged("train_loss"), torch.cat(
        [adapter[name].flatten() for name in sorted(adapter)]
    )


@pytest.mark.parametrize(("batch", "accumulated"), [(4, 1), (2, 2), (3, 2)])
def test_packing_changes_no_step_and_no_gradient(bench, batch, accumulated):
    rows = sum_rows(13)
    shape = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulated}

    losses, adapter = trained(bench, rows, packing=True, **shape)
    expected, other = trained(bench, rows, packing=False, **shape)

    per_epoch = math.ceil(math.ceil(13 / batch) / accumulated)
    assert len(losses) == len(expected) == 2 * per_epoch
    assert losses == pytest.approx(expected, rel=1e-5)
    assert float((adapter - other).norm() / other.norm()) < 1e-4


def test_a_split_row_stays_one_row_of_the_batch(bench, tokenizer):
    rows = [*sum_rows(7), LONG]
    plan = bench.plan(rows, training={"max_length": 96, "per_device_train_batch_size": 4})
    splits = load_splits(plan, tokenizer)

    items = rows_of(splits.train, 96, "split")
    outcome = bench.run(plan)

    assert len(items) == 8
    assert max(len(each.lengths) for each in items) > 3
    assert outcome.of("progress")[-1]["max_steps"] == 2 * 2
    laid = describe(splits, 96, packed=True, batch=4)
    assert outcome.of("artifact")[-1]["trained_tokens"] == 2 * laid.train.trained_tokens


def test_a_batch_with_a_split_row_takes_no_more_memory_than_planned():
    examples = [Example(list(range(500)), list(range(500)), 0), Example([1, 2], [1, 2], 1)]
    items = rows_of(examples, 100, "split")
    batch = collator(0, 100)([vars(each) for each in items])

    parts = list(micro_batches(batch, 2))

    assert batch["input_ids"].shape == (6, 100)
    assert [len(each["input_ids"]) for each in parts] == [2, 2, 2]
    assert sum(sum(each["num_trained"]) for each in parts) == sum(batch["num_trained"])
    assert sum(batch["num_tokens"]) == 502


def test_a_batch_that_fits_is_one_sequence():
    examples = [Example(list(range(20)), list(range(20)), row) for row in range(5)]
    items = [vars(each) for each in rows_of(examples, 100, "split")]

    assert collator(0, 100)(items)["input_ids"].shape == (1, 100)
    assert collator(0)(items)["input_ids"].shape == (5, 20)


def held_out_loss(plan, tokenizer) -> float:
    """The untrained base's loss per token on the held-out rows, by plain torch."""
    model = AutoModelForCausalLM.from_pretrained(plan.base.path).eval()
    total, tokens = 0.0, 0
    for each in load_splits(plan, tokenizer).held_out:
        labels = torch.tensor(each.labels[1:])
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([each.input_ids])).logits[0, :-1]
        total += float(torch.nn.functional.cross_entropy(scores, labels, reduction="sum"))
        tokens += int((labels != IGNORED).sum())
    return total / tokens


def test_48_rows_in_batches_of_16_take_three_steps_and_learn(bench, tokenizer):
    """With packing these rows once filled one step, whose learning rate was 0."""
    plan = bench.plan(
        sum_rows(60),
        validation={"fraction": 0.2},
        training={
            "num_train_epochs": 1, "per_device_train_batch_size": 4, "max_length": 512,
            "gradient_accumulation_steps": 4, "learning_rate": 2e-4, "eval_steps": 1,
        },
    )  # fmt: skip

    outcome = bench.run(plan)

    assert outcome.status == 0, outcome.of("error")
    assert outcome.of("progress")[-1]["max_steps"] == 3
    held_out = [each["values"]["valid_loss"] for each in outcome.of("eval")]
    assert len(held_out) == 3
    untrained = held_out_loss(plan, tokenizer)
    assert held_out == sorted(held_out, reverse=True)
    assert untrained > held_out[0]
    assert untrained - held_out[-1] > 1.5 * (untrained - held_out[0])
