"""Verification itself: an adapter that is not the trained one must not pass."""

import pytest
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from tests.training.test_packing import make_examples
from worker.training import export, verify
from worker.training.best import Shipped
from worker.training.failures import AdapterMismatch
from worker.training.model import load_base
from worker.training.verify import TOLERANCE


@pytest.fixture
def plan(bench):
    return bench.plan()


def trained_model(plan, **options):
    """A model as after training: every adapter weight has changed a little."""
    import torch

    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    model = get_peft_model(load_base(plan, "cpu"), config).eval()
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return model


def saved(plan, model, folder):
    folder.mkdir()
    export.write_adapter(folder, plan, model)
    return folder / "adapter_model.safetensors"


def prove(plan, model, folder):
    examples = make_examples(3)
    reloaded = verify.reloaded(plan, "cpu", folder)
    return verify.prove(reloaded, verify.reference(model, examples), examples, TOLERANCE["fp32"])


def test_the_saved_adapter_is_the_trained_one(plan, tmp_path):
    model = trained_model(plan)
    saved(plan, model, tmp_path / "a")

    assert prove(plan, model, tmp_path / "a") > 0


@pytest.mark.parametrize("harm", ["one weight", "all zero", "a layer missing"])
def test_an_adapter_that_was_harmed_is_caught(plan, tmp_path, harm):
    model = trained_model(plan)
    path = saved(plan, model, tmp_path / "a")
    tensors = load_file(path)
    name = next(each for each in tensors if "lora_B" in each)
    if harm == "one weight":
        tensors[name][0, 0] += 0.5
    elif harm == "all zero":
        tensors = {key: value * 0 for key, value in tensors.items()}
    else:
        tensors[name] = tensors[name] * 0
    save_file(tensors, path, metadata={"format": "pt"})

    with pytest.raises(AdapterMismatch) as caught:
        prove(plan, model, tmp_path / "a")
    assert "logits differ by" in caught.value.report.evidence


def test_pissa_which_changes_the_base_saves_and_reloads_and_is_caught(plan, tmp_path):
    model = trained_model(plan, init_lora_weights="pissa_niter_4")
    saved(plan, model, tmp_path / "a")

    with pytest.raises(AdapterMismatch):
        prove(plan, model, tmp_path / "a")


def test_an_adapter_that_was_hardly_trained_is_still_told_from_none(plan, tmp_path):
    import torch

    model = trained_model(plan)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data *= 1e-4
    path = saved(plan, model, tmp_path / "a")
    prove(plan, model, tmp_path / "a")

    none = {key: torch.zeros_like(value) for key, value in load_file(path).items()}
    save_file(none, path, metadata={"format": "pt"})
    with pytest.raises(AdapterMismatch):
        prove(plan, model, tmp_path / "a")


def test_an_artifact_holds_no_file_that_was_not_named(plan, tmp_path):
    folder = tmp_path / "a"
    saved(plan, trained_model(plan), folder)
    (folder / "training_args.bin").write_bytes(b"a pickle")

    with pytest.raises(RuntimeError, match=r"training_args\.bin"):
        export.publish(folder, tmp_path / "artifact", plan, {}, Shipped(1, "last", ""))
    assert not (tmp_path / "artifact").exists()
