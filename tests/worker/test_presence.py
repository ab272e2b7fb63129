"""What a worker reports about itself."""

import pytest

from worker.devices import device_of, is_given


@pytest.mark.parametrize("wanted", ["cpu", "cuda:1"])
def test_a_device_that_was_named_is_shown_as_named(wanted):
    assert device_of(wanted) == wanted


@pytest.mark.parametrize(
    ("script", "device"),
    [("echo 'GPU 0: NVIDIA H200'", "cuda:0"), ("exit 9", "cpu"), ("true", "cpu")],
)
def test_auto_is_what_the_driver_lists(tmp_path, monkeypatch, script, device):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if is_given({}):
        pytest.skip("this machine has a GPU")

    assert device_of("auto") == device


@pytest.mark.parametrize(
    ("visible", "devices", "given"),
    [
        ("0", [], True),
        ("GPU-8932f937,1", [], True),
        ("", ["nvidia0"], False),
        ("-1", ["nvidia0"], False),
        (None, ["nvidia0", "nvidiactl"], True),
        (None, ["nvidiactl", "nvidia-uvm"], False),
        (None, [], False),
    ],
)
def test_a_worker_was_given_a_gpu_by_its_environment_or_the_kernel(
    tmp_path, visible, devices, given
):
    for name in devices:
        (tmp_path / name).touch()
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}

    assert is_given(environment, tmp_path) is given


def test_auto_stays_a_gpu_that_was_given_when_the_driver_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")

    assert device_of("auto") == "cuda:0"
