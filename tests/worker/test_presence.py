"""What a worker reports about itself."""

import pytest

from worker.presence import device_of


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

    assert device_of("auto") == device
