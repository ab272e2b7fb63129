import json

import pytest

from tests.training.bench import sum_rows


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_a_quantized_base_trains_and_its_adapter_is_proven_on_a_cpu(bench, quantization):
    plan = bench.plan(
        sum_rows(8),
        quantization=quantization,
        sample_prompts=["Say 1"],
        training={"learning_rate": 1e-2, "num_train_epochs": 8, "max_length": 128},
    )

    outcome = bench.run(plan)

    assert outcome.status == 0, outcome.of("error")
    losses = [each["values"]["train_loss"] for each in outcome.of("metrics")]
    assert losses[-1] < losses[0] - 0.5
    manifest = json.loads((outcome.run_dir / "artifact" / "manifest.json").read_text())
    assert manifest["spec"]["quantization"] == quantization


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_the_adapter_of_a_quantized_base_is_trained_and_kept_in_full_precision(bench, quantization):
    import torch
    from safetensors.torch import load_file

    outcome = bench.run(bench.plan(sum_rows(4), quantization=quantization))

    tensors = load_file(outcome.run_dir / "artifact" / "adapter_model.safetensors")
    assert {each.dtype for each in tensors.values()} == {torch.float32}
    # If rounded to bf16 on the way, every value would be unchanged by another rounding.
    assert any((each != each.bfloat16().float()).any() for each in tensors.values())


def test_resuming_on_a_quantized_base_is_exact_too(bench):
    training = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 50}
    plan = bench.plan(sum_rows(8), quantization="nf4", training=training)
    whole = bench.run(plan)
    folder = whole.run_dir / "checkpoints"
    for path in sorted(folder.iterdir())[1:]:
        path.rename(path.with_name("put-aside-" + path.name))

    resumed = bench.run(plan.model_copy(update={"resume_from": [str(folder)]}))

    assert resumed.of("metrics")[0]["step"] > 1
    assert resumed.adapter == whole.adapter
