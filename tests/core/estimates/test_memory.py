import json

import pytest

from app.core.estimates import DeviceClass, device_classes, fits, memory, read_shape
from app.core.jobs.spec import JobSpec
from tests.core.estimates.folders import LLAMA_7B, llama_tensors, write

GIB = 1 << 30


def spec(**changes):
    return JobSpec.model_validate_json(json.dumps({"model": "m", "dataset": "ds", **changes}))


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return read_shape(write(tmp_path_factory.mktemp("llama"), LLAMA_7B, llama_tensors(LLAMA_7B)))


@pytest.mark.parametrize(
    ("quantization", "low", "high"),
    [
        ("none", 13.4e9, 13.6e9),
        ("int8", 7.4e9, 7.6e9),
        # The usual figure is 3.87 GB, embedding and head in bf16; PEFT makes both fp32: 0.53 more.
        ("nf4", 4.3e9, 4.5e9),
    ],
)
def test_the_weights_of_llama_7b_take_what_they_are_known_to(llama, quantization, low, high):
    found = memory.estimate(llama, spec(quantization=quantization), 1024, "cuda")

    assert low < found.weights < high
    told_for_nf4 = found.weights - 2 * (llama.embedding + llama.head)
    assert quantization != "nf4" or 3.6e9 < told_for_nf4 < 4.0e9


def test_an_optimizer_takes_what_its_kind_keeps(llama):
    def optimizer(name):
        found = memory.estimate(llama, spec(training={"optim": name}), 1024, "cuda")
        return found.optimizer / found.adapter

    assert optimizer("adamw_torch") == optimizer("adamw_torch_fused") == 2
    assert 0 < optimizer("adafactor") < 0.1
    assert optimizer("sgd") == 0


def test_the_parts_add_up_and_each_knob_moves_the_peak(llama):
    def peak(device="cuda", widest=1024, **changes):
        found = memory.estimate(llama, spec(**changes), widest, device)
        assert found.peak_bytes == sum(vars(found).values())
        return found.peak_bytes

    usual = peak()
    assert peak(training={"gradient_checkpointing": False}) > 1.5 * usual
    assert peak(training={"per_device_train_batch_size": 8}) > usual
    assert peak(quantization="nf4") < 0.6 * usual
    assert peak(lora={"r": 256}) > usual
    assert peak(widest=256) < usual
    assert peak("cpu") > peak("cpu", training={"precision": "bf16"})


def test_rows_are_held_by_the_host_and_not_by_a_gpu(llama):
    assert memory.estimate(llama, spec(), 64, "cpu", num_tokens=10**7).rows > 10**8
    assert memory.estimate(llama, spec(), 64, "cuda", num_tokens=10**7).rows == 0


def test_a_verdict_leaves_room_for_the_error_of_the_estimate(llama):
    found = memory.estimate(llama, spec(), 1024, "cuda")
    peak = found.peak_bytes
    classes = [
        DeviceClass("roomy", "cuda", round(peak * 1.2)),
        DeviceClass("narrow", "cuda", round(peak * 1.05)),
        DeviceClass("small", "cuda", round(peak * 0.99)),
        DeviceClass("other", "cpu", 0),
    ]

    assert fits({"cuda": found}, classes) == {"roomy": "yes", "narrow": "tight", "small": "no"}


def test_llama_7b_fits_the_cards_it_is_known_to_fit(llama):
    def verdicts(**changes):
        return fits({"cuda": memory.estimate(llama, spec(**changes), 1024, "cuda")})

    plain, small = verdicts(), verdicts(quantization="nf4")
    assert (plain["12 GB GPU"], plain["24 GB GPU"], plain["80 GB GPU"]) == ("no", "yes", "yes")
    assert (small["8 GB GPU"], small["12 GB GPU"]) == ("no", "yes")


def test_this_machine_is_among_the_classes():
    own = device_classes()[0]

    assert own.device == "cpu"
    assert own.name.endswith("GB (this machine)")
    assert own.usable_bytes > GIB // 2
