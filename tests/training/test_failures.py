import errno
import io
import json
import shutil
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.core.datasets.formats import Row
from app.core.jobs.protocol import ExitCode
from app.core.jobs.spec import JobSpec
from tests.training.bench import sum_rows
from worker.training.data import prompt_texts
from worker.training.failures import (
    CRASH,
    AdapterMismatch,
    BadModel,
    Diverged,
    NoRoomForBase,
    easier,
    explain,
)
from worker.training.losses import FLAT_LOGS, NONFINITE_STEPS, LossWatch
from worker.training.reporter import Reporter


def spec(**training):
    return JobSpec.model_validate_json(
        json.dumps({"model": "m", "dataset": "d", "training": training})
    )


def test_a_gpu_out_of_memory_is_told_with_a_change_that_helps():
    report, status = explain(torch.OutOfMemoryError("CUDA out of memory. Tried"), spec())

    assert status == ExitCode.OOM_GPU
    assert (report.class_, report.code, report.retryable) == ("capacity", "oom_gpu", False)
    assert report.suggested_patch == {
        "training": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    }


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "Triton Error [CUDA]: out of memory",
        "CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY",
        "cudaErrorMemoryAllocation",
        "cudaMalloc failed: out of memory",
        "NCCL WARN Cuda failure 2 'out of memory'",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate`",
    ],
)
def test_every_text_of_a_gpu_that_is_full_is_known(text):
    report, status = explain(RuntimeError(text), spec())

    assert (status, report.code) == (ExitCode.OOM_GPU, "oom_gpu")
    assert report.evidence == text


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`",
        "out of resource: shared memory, Required: 131072, Hardware limit: 101376",
        "cudaMalloc failed: invalid argument",
        "the row is out of memory",
    ],
)
def test_other_errors_of_a_gpu_are_not_told_as_memory(text):
    assert explain(RuntimeError(text), spec())[0].code == "internal_error"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    ],
)
def test_every_text_of_a_host_that_is_full_is_known(error):
    assert explain(error, spec())[0].code == "oom_host"


def test_memory_that_ran_out_beneath_another_error_is_found():
    error = ValueError("cannot convert the weights")
    error.__cause__ = RuntimeError("CUDA error: out of memory")

    assert explain(error, spec())[0].code == "oom_gpu"


@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_memory_that_ran_out_while_loading_suggests_quantization(quantization):
    asked = spec().model_copy(update={"quantization": quantization})
    report, status = explain(NoRoomForBase(RuntimeError("CUDA out of memory.")), asked)

    assert (status, report.code) == (ExitCode.OOM_GPU, "oom_gpu")
    assert "while the base model was loaded" in report.message
    patch = None if quantization == "nf4" else {"quantization": "nf4"}
    assert report.suggested_patch == patch
    assert report.hint


def test_a_base_that_does_not_fit_is_told_so(bench, monkeypatch):
    from transformers import AutoModelForCausalLM

    def full(*args, **kwargs):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", full)

    outcome = bench.run(bench.plan())

    assert outcome.status == ExitCode.OOM_GPU
    assert outcome.failure["suggested_patch"] == {"quantization": "nf4"}


@pytest.mark.parametrize(
    "text",
    [
        "No CUDA GPUs are available",
        "CUDA error: no CUDA-capable device is detected",
        "Found no NVIDIA driver on your system.",
        "CUDA error: invalid device ordinal",
    ],
)
def test_a_device_that_went_away_is_the_machines_fault(text):
    report, status = explain(RuntimeError(text), spec())

    assert status == ExitCode.INFRA
    assert (report.class_, report.code, report.retryable) == ("system", "device_missing", True)
    assert text in report.evidence


def test_a_host_out_of_memory_is_told_as_such():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)

    for error in (caught.value, MemoryError()):
        report, status = explain(error, spec())
        assert (status, report.code) == (ExitCode.OOM_HOST, "oom_host")
        assert report.evidence


def test_the_change_that_helps_goes_from_harmless_to_harmful_and_is_always_a_valid_spec():
    asked = spec(per_device_train_batch_size=4, gradient_checkpointing=False)
    patches = []
    for _ in range(6):
        patch = easier(asked)
        patches.append(patch)
        body = asked.model_dump()
        body |= {key: value for key, value in patch.items() if key != "training"}
        body["training"] |= patch.get("training", {})
        asked = JobSpec.model_validate(body)

    assert [list(each.get("training", each)) for each in patches] == [
        ["per_device_train_batch_size", "gradient_accumulation_steps"],
        ["per_device_train_batch_size", "gradient_accumulation_steps"],
        ["gradient_checkpointing"],
        ["quantization"],
        ["max_length"],
        ["max_length"],
    ]


def test_a_full_disk_may_be_tried_again_elsewhere():
    report, status = explain(OSError(errno.ENOSPC, "No space left on device"), spec())

    assert status == ExitCode.INFRA
    assert (report.class_, report.code, report.retryable) == ("system", "disk_full", True)


def test_what_nobody_foresaw_is_a_crash_with_its_traceback():
    report, status = explain(ZeroDivisionError("why"), None)

    assert status == CRASH
    assert report.code == "internal_error"
    assert report.evidence.startswith("ZeroDivisionError: why\n")
    assert "ZeroDivisionError: why" in report.message
    assert report.evidence.strip().endswith("ZeroDivisionError: why")


@pytest.mark.parametrize("error", [ZeroDivisionError(), AdapterMismatch("differs"), BadModel("no")])
def test_evidence_is_never_empty(error):
    assert explain(error, spec())[0].evidence.strip()


def test_a_mismatch_is_ours_not_the_users():
    report, status = explain(AdapterMismatch("differs"), spec())

    assert status == ExitCode.INFRA
    assert (report.class_, report.code) == ("system", "adapter_mismatch")


class Told(Reporter):
    def __init__(self):
        super().__init__(io.BytesIO())
        self.codes: list[str] = []

    def warn(self, code, message, **more):
        self.codes.append(code)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_stays_no_number_ends_the_run(bad):
    told = Told()
    watch = LossWatch(0.01, told)
    sound = [1.0, *[bad] * (NONFINITE_STEPS - 1)] * 2
    for step, loss in enumerate(sound):
        watch.step(loss, step, lambda: True)
    with pytest.raises(Diverged) as caught:
        watch.step(bad, len(sound), lambda: True)

    assert told.codes == ["loss_not_finite", "loss_not_finite"]
    assert caught.value.report.suggested_patch == {"training": {"learning_rate": 0.001}}


def test_one_loss_that_is_no_number_ends_the_run_when_the_weights_are_none_either():
    told = Told()
    watch = LossWatch(0.01, told)
    with pytest.raises(Diverged) as caught:
        watch.step(float("nan"), 7, lambda: False)

    assert told.codes == ["loss_not_finite"]
    assert "step 7" in caught.value.report.evidence


def test_weights_are_not_read_while_the_loss_is_a_number():
    reads = []

    def read() -> bool:
        reads.append(1)
        return True

    LossWatch(0.01, Told()).step(1.0, 1, read)

    assert not reads


def test_a_flat_loss_is_warned_of_once():
    told = Told()
    watch = LossWatch(0.01, told)
    for number in range(3 * FLAT_LOGS):
        watch.log(9.2103 + 1e-6 * number)

    assert told.codes == ["loss_flat"]


@pytest.mark.parametrize("losses", [[2.0 - 0.01 * n for n in range(30)], [1e-4] * 30])
def test_a_loss_that_falls_or_has_fallen_is_not_flat(losses):
    told = Told()
    watch = LossWatch(0.01, told)
    for loss in losses:
        watch.log(loss)

    assert told.codes == []


@pytest.mark.parametrize("name", ["model.norm.weight", "model.embed_tokens.weight"])
def test_a_base_that_is_broken_is_named_before_the_first_update(bench, tiny_base, tmp_path, name):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_base, broken)
    tensors = load_file(broken / "model.safetensors")
    tensors[name].fill_(float("nan"))
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    bench.base = broken

    outcome = bench.run(bench.plan())

    assert outcome.status == ExitCode.USER
    assert outcome.failure["code"] == "base_not_finite"
    assert outcome.failure["suggested_patch"] is None
    assert outcome.of("metrics") == []


def test_a_run_that_diverges_fails_with_a_hint_and_commits_nothing_that_is_no_number(
    bench, monkeypatch
):
    """The third step's weights are no numbers, and only every tenth step is logged."""
    from worker.training.trainer import LoraTrainer

    steps: list[int] = []

    def spoil(self, *args, **kwargs):
        loss = training_step(self, *args, **kwargs)
        steps.append(self.state.global_step + 1)
        if steps[-1] == 3:
            next(each for each in self._trained() if each.grad is not None).grad.fill_(torch.nan)
        return loss

    training_step = LoraTrainer.training_step
    monkeypatch.setattr(LoraTrainer, "training_step", spoil)
    training: dict[str, Any] = {"num_train_epochs": 100, "learning_rate": 1.0}
    training |= {"save_strategy": "steps", "save_steps": 1, "logging_steps": 10}

    outcome = bench.run(bench.plan(training=training))

    assert outcome.status == ExitCode.USER
    assert outcome.failure["code"] == "diverged"
    assert "step 3" in outcome.failure["evidence"]
    assert outcome.failure["suggested_patch"] == {"training": {"learning_rate": 0.1}}
    assert steps[-1] == 3
    assert [each["step"] for each in outcome.of("checkpoint")] == [1, 2]
    assert not list(outcome.run_dir.glob("checkpoints/checkpoint-3/COMMIT.json"))
    values = [value for each in outcome.of("metrics") for value in each["values"].values()]
    assert all(isinstance(value, int | float) for value in values)


def test_a_run_that_learns_nothing_is_warned_of(bench):
    training = {"learning_rate": 1e-9, "num_train_epochs": 30, "max_length": 512}
    training["per_device_train_batch_size"] = 4
    outcome = bench.run(bench.plan(sum_rows(4), lora={"lora_dropout": 0.0}, training=training))

    assert outcome.status == 0
    assert outcome.warnings == ["learning_rate_unusual", "loss_flat"]


def test_a_job_without_a_trained_token_fails_before_the_model_loads(bench, tiny_base, tmp_path):
    weightless = tmp_path / "weightless"
    shutil.copytree(tiny_base, weightless, ignore=shutil.ignore_patterns("*.safetensors"))
    bench.base = weightless
    from transformers import AutoTokenizer

    row: Row = {"instruction": "Say hi", "output": "hi"}
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    (prompt,) = prompt_texts([row], "alpaca", tokenizer)
    length = len(tokenizer(prompt)["input_ids"])

    outcome = bench.run(bench.plan([row], training={"max_length": length}))
    assert outcome.status == ExitCode.DATA
    assert outcome.failure["code"] == "no_trained_tokens"

    outcome = bench.run(bench.plan([row], training={"max_length": length + 5}))
    assert outcome.status == ExitCode.USER
    assert outcome.failure["code"] == "model_invalid"


def test_a_pickled_base_is_not_loaded(bench, tiny_base, tmp_path):
    pickled = tmp_path / "pickled"
    shutil.copytree(tiny_base, pickled, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save({}, pickled / "pytorch_model.bin")
    bench.base = pickled

    outcome = bench.run(bench.plan())

    assert outcome.failure["code"] == "model_invalid"


def test_a_token_the_model_has_no_row_for_is_named(bench, tiny_base, tmp_path):
    small = tmp_path / "small"
    shutil.copytree(tiny_base, small)
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps(config | {"vocab_size": 50}))
    bench.base = small

    outcome = bench.run(bench.plan())

    assert outcome.status == ExitCode.DATA
    assert outcome.failure["code"] == "token_outside_vocabulary"
    assert outcome.failure["message"].startswith("Row 0 (counted from 0)")


@pytest.mark.parametrize("name", ["lm_head", "no_such_layer", "embed_tokens"])
def test_a_target_that_carries_no_adapter_is_refused(bench, name):
    outcome = bench.run(bench.plan(lora={"target_modules": ["q_proj", name]}))

    assert outcome.failure["code"] == "target_modules_invalid"
    assert "q_proj" in outcome.failure["hint"]


def test_a_device_that_is_not_there_is_refused(bench):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")

    outcome = bench.run(bench.plan(device="cuda:0"))

    assert outcome.status == ExitCode.INFRA
    assert (outcome.failure["class"], outcome.failure["code"]) == ("system", "device_missing")
    assert "CUDA_VISIBLE_DEVICES" in outcome.failure["evidence"]


@pytest.mark.parametrize("content", [None, "", "{}", '{"version": 2}'])
def test_a_plan_that_is_none_is_refused(bench, tmp_path, content):
    run_dir = tmp_path / "bad"
    run_dir.mkdir()
    if content is not None:
        (run_dir / "plan.json").write_text(content)

    outcome = bench.run(None, run_dir)

    assert outcome.status == ExitCode.USER
    assert outcome.failure["code"] == "plan_invalid"
