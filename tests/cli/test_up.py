"""The message that `tunesmith up` prints once the stack is ready."""

import sys
from pathlib import Path

import pytest

from app.cli.up import banner
from app.core.settings import Settings
from app.embedded import stack
from app.embedded.errors import ModelsMissing, WorkerMissing
from app.embedded.files import State


def test_the_banner_names_only_addresses_that_answer():
    settings = Settings(models_dir=Path("m"), data_dir=Path("d"))
    state = State("http://127.0.0.1:8000", 7, "", "d", "m", "", "", {})

    said = banner(state, settings, 1.0)

    assert "http://127.0.0.1:8000/openapi.json" in said
    assert "tunesmith submit" in said
    assert "kill 7" in said
    assert "http://127.0.0.1:8000/docs" in said
    assert "dashboard" not in said


def attempt(choices, **settings):
    with stack.run(Settings(**settings), choices, lambda _: False, print):
        raise AssertionError("it started")


def test_a_new_installation_hears_at_once_all_that_up_must_be_given(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(ModelsMissing, match="--models-dir DIR") as caught:
        attempt(stack.Choices(), models_dir=tmp_path / "absent")

    [other] = caught.value.errors
    assert "pip install '.[worker]'" in other.message
    assert "tunesmith up --no-worker" in other.message


def test_what_is_not_missing_is_not_mentioned(monkeypatch, tmp_path):
    with pytest.raises(ModelsMissing) as models:
        attempt(stack.Choices(worker=False), models_dir=tmp_path / "absent")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(WorkerMissing) as worker:
        attempt(stack.Choices(), models_dir=tmp_path)

    assert models.value.errors == worker.value.errors == ()
