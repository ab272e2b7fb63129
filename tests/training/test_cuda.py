"""The same runs on a GPU, if there is one: bf16, quantized bases, the probe, verification."""

import json
import shutil
import subprocess

import pytest

from app.core.estimates import ModelShape, memory, read_shape
from bench.memory import Case, measure
from bench.models import make_model
from tests.training.bench import start_trainer, sum_rows


def has_gpu() -> bool:
    """Ask the driver: this process may have hidden the GPU from its own libraries."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    return subprocess.run([program, "-L"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not has_gpu(), reason="no NVIDIA GPU on this machine")


@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_a_run_on_a_gpu_learns_in_bf16_and_is_proven(bench, quantization):
    training = {"learning_rate": 1e-2, "num_train_epochs": 8, "max_length": 128}
    plan = bench.plan(sum_rows(8), quantization=quantization, device="cuda:0", training=training)
    run_dir = bench.run_dir(plan)

    status = start_trainer(run_dir).wait(timeout=300)

    assert status == 0, (run_dir / "trainer.log").read_text()
    reports = [json.loads(line) for line in (run_dir / "reports.jsonl").read_text().splitlines()]
    values = [each["data"]["values"] for each in reports if each["type"] == "metrics"]
    assert values[-1]["train_loss"] < values[0]["train_loss"] - 0.5
    assert values[-1]["device_memory_peak_bytes"] > 0
    environment = reports[-1]["data"]["environment"]
    assert "cuda" in json.dumps(environment).lower()


@pytest.mark.parametrize(
    "case",
    [
        Case("bf16", "wide", batch=8, length=512),
        Case("checkpointing", "wide", batch=16, length=512, checkpointing=True),
        Case("nf4", "large", batch=4, quantization="nf4"),
        Case("int8", "large", batch=4, quantization="int8"),
        Case("vocabulary", "vocab", batch=4, length=512, packing=False, r=64),
    ],
    ids=lambda case: case.name,
)
def test_the_plan_foretells_a_gpus_peak_within_10_percent(tmp_path, case):
    base = make_model(case.model, tmp_path / "models")
    measured = measure(case, base, "cuda:0")
    shape = read_shape(base)
    assert isinstance(shape, ModelShape)
    estimated = memory.estimate(shape, case.spec(), measured.widest, "cuda")

    # `max_memory_allocated`, which does not include the CUDA context.
    peak = measured.of("metrics")[-1]["values"]["device_memory_peak_bytes"]
    assert estimated.peak_bytes - estimated.runtime == pytest.approx(peak, rel=0.10)
