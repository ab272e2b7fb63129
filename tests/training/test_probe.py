import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.bench import Bench, sum_rows
from tests.training.test_packing import load
from worker.training import prepare
from worker.training.data import load_splits
from worker.training.model import load_base
from worker.training.probe import run_longest_batch
from worker.training.reporter import Reporter
from worker.training.trainer import Tally


def random_states() -> tuple[Any, ...]:
    numpy_state = np.random.get_state(legacy=False)["state"]["key"].tolist()
    return random.getstate(), numpy_state, torch.get_rng_state().tolist()


def test_the_longest_batch_is_run_and_leaves_no_trace(bench: Bench, tokenizer: Any, tmp_path: Path):
    plan = bench.plan(
        sum_rows(9),
        lora={"lora_dropout": 0.5},
        training={"packing": False, "neftune_noise_alpha": 5.0},
    )
    splits = load_splits(plan, tokenizer)
    base = load_base(plan, "cpu")
    reports = Reporter(io.BytesIO())
    train, _ = prepare.sequences(plan, splits, base, tokenizer, reports)
    tally = Tally()
    trainer = prepare.build_trainer(plan, tmp_path, "cpu", base, tokenizer, train, [], tally)
    weights = {name: each.clone() for name, each in trainer.model.named_parameters()}
    before, shapes = random_states(), []
    handle = base.register_forward_pre_hook(
        lambda module, args, inputs: shapes.append(inputs["input_ids"].shape), with_kwargs=True
    )

    run_longest_batch(trainer, train)

    handle.remove()
    lengths = sorted((len(each.input_ids) for each in train), reverse=True)
    assert shapes == [torch.Size([2, lengths[0]])]
    assert random_states() == before
    assert tally == Tally()
    assert all(each.grad is None for each in trainer.model.parameters())
    assert all((each == weights[name]).all() for name, each in trainer.model.named_parameters())


@pytest.mark.parametrize(("checkpointing", "forwards"), [(True, 2), (False, 1)])
def test_the_longest_batch_is_run_with_the_memory_that_training_will_take(
    bench: Bench, tokenizer: Any, tmp_path: Path, checkpointing: bool, forwards: int
):
    plan = bench.plan(sum_rows(4), training={"gradient_checkpointing": checkpointing})
    splits = load_splits(plan, tokenizer)
    base = load_base(plan, "cpu")
    train, _ = prepare.sequences(plan, splits, base, tokenizer, Reporter(io.BytesIO()))
    trainer = prepare.build_trainer(plan, tmp_path, "cpu", base, tokenizer, train, [], Tally())
    calls: list[None] = []
    # A hook on a submodule: hooks of the layer itself run outside activation checkpointing.
    layer = base.model.layers[0].mlp
    layer.register_forward_pre_hook(lambda module, args: calls.append(None))

    run_longest_batch(trainer, train)

    assert len(calls) == forwards


def test_a_model_that_does_not_keep_packed_rows_apart_is_trained_unpacked(
    bench: Bench, tokenizer: Any, tiny_base: Path
):
    model = load(tiny_base, "sdpa").eval()

    class Leaking:
        dtype, device = model.dtype, model.device

        def __call__(self, input_ids: Any, position_ids: Any, **options: Any) -> Any:
            mask = torch.ones_like(input_ids)
            return model(input_ids, attention_mask=mask, position_ids=position_ids, **options)

    long = {"instruction": "Say much", "output": "many words " * 30}
    plan = bench.plan([*sum_rows(8), long])
    stream = io.BytesIO()
    splits = load_splits(plan, tokenizer)

    train, _ = prepare.sequences(plan, splits, Leaking(), tokenizer, Reporter(stream))

    assert [len(each.lengths) for each in train] == [1] * 9
    warnings = [json.loads(line) for line in stream.getvalue().splitlines()]
    # Reported as what happens: unpacked, a long row is truncated.
    codes = ["packing_unsafe", "rows_truncated", "eos_lost", "tokens_lost"]
    assert [each["data"]["code"] for each in warnings] == codes
    assert (
        warnings[1]["message"] == "1 of 9 rows were cut to `max_length` (rows 8, counted from 0)."
    )


def test_code_in_a_models_folder_never_runs(bench: Bench, tiny_base: Path, tmp_path: Path):
    evil = tmp_path / "evil"
    shutil.copytree(tiny_base, evil)
    canary = tmp_path / "canary"
    code = f"open({str(canary)!r}, 'w')\nfrom transformers import LlamaForCausalLM as Evil\n"
    (evil / "modeling_evil.py").write_text(code)
    config = json.loads((evil / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_evil.Evil"}
    (evil / "config.json").write_text(json.dumps(config))
    bench.base = evil

    bench.run(bench.plan())

    assert not canary.exists()
