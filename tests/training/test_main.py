import os

import pytest

from app.core.jobs.protocol import ExitCode
from worker.training.__main__ import main, set_environment


@pytest.mark.parametrize(
    ("visible", "device", "expected"),
    [
        (None, "cpu", ""),
        (None, "auto", "0"),
        (None, "cuda", "0"),
        (None, "cuda:3", "3"),
        ("4,7", "cpu", ""),
        ("4,7", "auto", "4"),
        ("4,7", "cuda:1", "7"),
        ("4,7", "cuda:2", ""),
        ("", "auto", ""),
    ],
)
def test_at_most_one_device_is_visible_and_no_network(monkeypatch, visible, device, expected):
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    monkeypatch.setattr(os, "environ", environment)

    set_environment(device)

    assert environment["CUDA_VISIBLE_DEVICES"] == expected
    assert environment["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["/no/such/folder"]])
def test_a_wrong_call_says_how_it_is_meant(capsys, arguments):
    assert main(arguments) == ExitCode.USER
    assert capsys.readouterr().err
