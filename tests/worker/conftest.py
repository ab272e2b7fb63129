"""A bench with the scripted trainer, and jobs for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.db.session import Sessions
from app.core.settings import Settings
from tests.worker.bench import Bench, make_model


@pytest.fixture
def bench(settings: Settings, sessions: Sessions, tmp_path: Path) -> Iterator[Bench]:
    make_model(tmp_path / "models" / "tiny")
    made = Bench(settings.model_copy(update={"models_dir": tmp_path / "models"}), sessions)
    yield made
    made.close()
