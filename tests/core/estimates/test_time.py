import json

import pytest

from app.core.estimates import PastRun, Work, disk, read_shape, time
from app.core.estimates.flops import training_flops
from app.core.jobs.spec import JobSpec
from tests.core.estimates.folders import LLAMA_7B, llama_tensors, write

SMALL = LLAMA_7B | {"num_hidden_layers": 4}
WORK = Work(tokens=100_000, computed=100_000, steps=100, width=1024)


def spec(model="seven", **changes):
    return JobSpec.model_validate_json(json.dumps({"model": model, "dataset": "ds", **changes}))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return {
        name: read_shape(write(tmp_path_factory.mktemp(name), config, llama_tensors(config)))
        for name, config in (("seven", LLAMA_7B), ("small", SMALL))
    }


def past(shapes, model="seven", device="cuda", name="H100", rate=5000.0, **changes):
    """Return a run with 30 seconds of overhead beside training."""
    seconds = 50_000 / rate + 30
    return PastRun(spec(model, **changes), shapes[model], device, name, 50_000, rate, seconds)


def test_the_same_job_takes_what_it_took(shapes):
    found = time.estimate(shapes["seven"], spec(), WORK, "cuda", [past(shapes)])

    assert found.estimate == pytest.approx(100_000 / 5000 + 30)
    assert "the same model on H100: 5,000 tokens/s" in found.basis


def test_another_model_is_scaled_by_its_operations(shapes):
    found = time.estimate(shapes["seven"], spec(), WORK, "cuda", [past(shapes, "small")])

    ratio = training_flops(shapes["seven"], spec(), 1024) / training_flops(
        shapes["small"], spec(), 1024
    )
    assert 5 < ratio < 8
    assert found.estimate == pytest.approx(ratio * 100_000 / 5000 + 30)
    assert "another model (small)" in found.basis
    assert "scaled" in found.basis


def test_the_nearest_run_is_chosen(shapes):
    runs = [
        past(shapes, "small", rate=1.0),
        past(shapes, quantization="nf4", rate=2.0),
        past(shapes, device="cpu", name="x86_64", rate=3.0),
        past(shapes, name="A100", rate=4.0),
        past(shapes, rate=5000.0),
    ]

    found = time.estimate(shapes["seven"], spec(), WORK, "cuda", runs, device_name="H100")

    assert "5,000 tokens/s" in found.basis


def test_another_quantization_is_told(shapes):
    runs = [past(shapes, quantization="nf4")]

    found = time.estimate(shapes["seven"], spec(), WORK, "cuda", runs)

    assert "whose quantization was nf4, not none" in found.basis


def test_evaluation_takes_its_time(shapes):
    work = Work(tokens=100_000, computed=100_000, steps=100, width=1024, eval_tokens=100_000)

    found = time.estimate(shapes["seven"], spec(), work, "cuda", [past(shapes)])

    assert found.estimate is not None
    assert 50 + 5 < found.estimate < 50 + 10


def test_without_a_measurement_a_gpu_has_no_figure_and_a_cpu_a_rough_one(shapes):
    on_gpu = time.estimate(shapes["small"], spec(), WORK, "cuda", [past(shapes, device="cpu")])
    on_cpu = time.estimate(shapes["small"], spec(), WORK, "cpu")

    assert on_gpu.estimate is None
    assert "No job has been measured on this GPU" in on_gpu.basis
    assert on_cpu.estimate is not None
    assert on_cpu.estimate > 60
    assert "GFLOP/s" in on_cpu.basis
    assert "rough" in on_cpu.basis


def test_operations_are_four_or_six_times_the_parameters(shapes):
    shape = shapes["seven"]
    without = training_flops(shape, spec(training={"gradient_checkpointing": False}), 1)
    again = training_flops(shape, spec(), 1)

    assert without == pytest.approx(4 * (shape.parameters - shape.embedding), rel=0.04)
    assert again == pytest.approx(6 * (shape.parameters - shape.embedding), rel=0.02)


@pytest.mark.parametrize(
    ("steps", "training", "checkpoints"),
    [
        (100, {"save_strategy": "no"}, 0),
        (100, {}, 1),
        (100, {"num_train_epochs": 2}, 2),
        # One more than are retained: the oldest is deleted when the newest is complete.
        (100, {"save_strategy": "steps", "save_steps": 10}, 3),
        (100, {"save_strategy": "steps", "save_steps": 10, "save_total_limit": 20}, 10),
    ],
)
def test_disk_holds_the_kept_checkpoints_and_the_one_being_written(
    shapes, steps, training, checkpoints
):
    found = disk.estimate(shapes["seven"], spec(training=training), steps=steps, rows_bytes=7)

    # fp32: the adapter, and two copies of it in AdamW.
    assert found.checkpoints == pytest.approx(checkpoints * 3 * 4 * 39_976_960, rel=0.01)
    assert found.rows == 7
    assert found.total_bytes == sum(vars(found).values())
