import io
import json
import random
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.bench import Bench, sum_rows
from tests.training.test_adapter import gemma3, gpt2, mamba, mixtral, qwen3_moe
from tests.training.test_packing import load, make_examples
from worker.training import prepare
from worker.training.data import load_splits
from worker.training.model import load_base
from worker.training.probe import keeps_rows_apart, run_longest_batch
from worker.training.reporter import Reporter
from worker.training.trainer import LoraTrainer, Tally


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
    laid = prepare.sequences(plan, splits, base, tokenizer, reports)
    tally = Tally()
    trainer = prepare.build_trainer(plan, tmp_path, "cpu", base, tokenizer, laid, tally)
    weights = {name: each.clone() for name, each in trainer.model.named_parameters()}
    before, shapes = random_states(), []
    handle = base.register_forward_pre_hook(
        lambda module, args, inputs: shapes.append(inputs["input_ids"].shape), with_kwargs=True
    )

    run_longest_batch(trainer, laid.train)

    handle.remove()
    lengths = sorted((len(each.input_ids) for each in laid.train), reverse=True)
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
    laid = prepare.sequences(plan, splits, base, tokenizer, Reporter(io.BytesIO()))
    trainer = prepare.build_trainer(plan, tmp_path, "cpu", base, tokenizer, laid, Tally())
    calls: list[None] = []
    # A hook on a submodule: hooks of the layer itself run outside activation checkpointing.
    layer = base.model.layers[0].mlp
    layer.register_forward_pre_hook(lambda module, args: calls.append(None))

    run_longest_batch(trainer, laid.train)

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

    laid = prepare.sequences(plan, splits, Leaking(), tokenizer, Reporter(stream))

    assert [len(each.lengths) for each in laid.train] == [1] * 9
    warnings = [json.loads(line) for line in stream.getvalue().splitlines()]
    # Reported as what happens: unpacked, a long row is truncated.
    codes = ["packing_unsafe", "rows_truncated", "eos_lost", "tokens_lost"]
    assert [each["data"]["code"] for each in warnings] == codes
    assert (
        warnings[1]["message"] == "1 of 9 rows were cut to `max_length` (rows 8, counted from 0)."
    )


@pytest.mark.parametrize("strength", [1e-3, 1e-2, 1.0])
def test_a_leak_below_the_rounding_of_bf16_is_seen(
    tiny_base: Path, tokenizer: Any, strength: float
):
    model = load(tiny_base, "sdpa").eval().to(torch.bfloat16)

    class Leaking:
        dtype, device = model.dtype, model.device

        def __call__(self, input_ids: Any, position_ids: Any, **options: Any) -> Any:
            output = model(input_ids, position_ids=position_ids, **options)
            # Each position sees a little of what is four tokens before it, in whichever row.
            output.logits = output.logits + strength * output.logits.roll(4, dims=1)
            return output

    rows = make_examples(2)
    assert keeps_rows_apart(model, rows, tokenizer.pad_token_id)
    assert not keeps_rows_apart(Leaking(), rows, tokenizer.pad_token_id)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("make", "is_apart"),
    [(gpt2, True), (mixtral, True), (qwen3_moe, True), (gemma3, True), (mamba, False)],
)
def test_what_an_architecture_does_with_packed_rows_is_found_out(make, is_apart, dtype):
    torch.manual_seed(0)
    model = make(400).to(dtype).eval()

    assert keeps_rows_apart(model, make_examples(2), 0) is is_apart


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_rounding_that_rows_share_is_no_leak(bench, tokenizer, quantization):
    plan = bench.plan(quantization=quantization)
    rows = load_splits(plan, tokenizer).train

    assert keeps_rows_apart(load_base(plan, "cpu"), rows, tokenizer.pad_token_id)


@pytest.mark.parametrize(
    ("optim", "states"), [("adamw_torch", 2), ("adamw_torch_fused", 2), ("sgd", 0)]
)
def test_the_longest_batch_is_run_under_autocast_beside_the_optimizers_state(
    bench: Bench, tokenizer: Any, tmp_path: Path, optim: str, states: int
):
    plan = bench.plan(sum_rows(4), training={"precision": "bf16", "optim": optim})
    splits = load_splits(plan, tokenizer)
    base = load_base(plan, "cpu")
    laid = prepare.sequences(plan, splits, base, tokenizer, Reporter(io.BytesIO()))
    trainer = prepare.build_trainer(plan, tmp_path, "cpu", base, tokenizer, laid, Tally())
    state: list[Any] = []
    found: list[Any] = []

    def taken() -> list[Any]:
        tensors = LoraTrainer._optimizer_state(trainer)
        state.extend(map(weakref.ref, tensors))
        return tensors

    def look(module: Any, args: Any) -> None:
        held = [each() for each in state if each() is not None]
        found.append((torch.is_autocast_enabled("cpu"), sum(each.nbytes for each in held)))

    trainer._optimizer_state = taken  # type: ignore[method-assign]
    base.model.layers[0].mlp.register_forward_pre_hook(look)
    run_longest_batch(trainer, laid.train)

    trained = sum(each.nbytes for each in trainer._trained())
    assert found[0] == (True, states * trained)
    assert all(each() is None for each in state)


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
