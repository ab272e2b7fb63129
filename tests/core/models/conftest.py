import pytest

from app.core.settings import Settings
from tests.core.models.standins import Hub, serve


@pytest.fixture
def settings(tmp_path) -> Settings:
    (tmp_path / "models").mkdir()
    return Settings(models_dir=tmp_path / "models", data_dir=tmp_path / "data")


@pytest.fixture
def hub():
    with serve(Hub()) as server:
        yield server


@pytest.fixture
def hub_settings(settings, hub: Hub) -> Settings:
    allowed = frozenset({"team/small", "team/evil", "team/closed"})
    return settings.model_copy(update={"hub_endpoint": hub.url, "allowed_models": allowed})
