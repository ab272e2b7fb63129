"""A client of the real application, and rows to talk about."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.core.settings import Settings
from app.main import create_app
from tests.api.world import World, write_model


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """Two base models: `tiny` reads 256 tokens, `roomy` 4,096."""
    folder = tmp_path / "models"
    write_model(folder, "tiny", max_length=256)
    write_model(folder, "roomy", max_length=4096)
    return folder


@pytest.fixture
def settings(settings: Settings, models_dir: Path) -> Settings:
    limits = {"max_body_bytes": 20_000, "max_upload_bytes": 3_000_000}
    return settings.model_copy(update={"models_dir": models_dir, **limits})


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def world(settings: Settings, sessions) -> World:
    return World(settings, sessions)
