"""The message that `tunesmith up` prints once the stack is ready."""

from pathlib import Path

from app.cli.up import banner
from app.core.settings import Settings
from app.embedded.files import State


def test_the_banner_names_only_addresses_that_answer():
    settings = Settings(models_dir=Path("m"), data_dir=Path("d"))
    state = State("http://127.0.0.1:8000", 7, "", "d", "m", "", "", {})

    said = banner(state, settings, 1.0)

    assert "http://127.0.0.1:8000/openapi.json" in said
    assert "tunesmith submit" in said
    assert "kill 7" in said
    for absent in ("/docs", "dashboard"):
        assert absent not in said
