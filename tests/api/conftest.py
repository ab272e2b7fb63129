"""Fixtures: a client of the real application, and sample rows.

All of tests/api shares one application and one database, which is emptied before each test.
Creating a database for each of these many small tests would cost half a second per test.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from app.core.db.session import Sessions, make_engine, make_sessions
from app.core.settings import DEFAULT_PROJECT, Settings
from app.main import create_app
from tests.api.world import World, write_model
from tests.databases import Databases

TABLES = ("idempotency_keys", "uploads", "jobs", "datasets", "workers")


@pytest.fixture(scope="package")
def api_database(databases: Databases) -> Iterator[str]:
    with databases.fresh() as url:
        yield url


@pytest.fixture(scope="package")
def api_engine(api_database: str) -> Iterator[Engine]:
    engine = make_engine(api_database)
    yield engine
    engine.dispose()


@pytest.fixture(scope="package")
def api_settings(
    api_database: str, server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Two base models: `tiny` with a context of 256 tokens, `roomy` with 4,096 and chat."""
    folder = tmp_path_factory.mktemp("api")
    write_model(folder / "models", "tiny", max_length=256)
    write_model(folder / "models", "roomy", max_length=4096, is_chat=True)
    return Settings(
        database_url=api_database,
        redis_url=server_urls[1],
        data_dir=folder / "data",
        models_dir=folder / "models",
        lease_seconds=3,
        renew_seconds=0.5,
        max_body_bytes=20_000,
        max_upload_bytes=3_000_000,
        log_format="json",
    )


@pytest.fixture(scope="package")
def api_client(api_settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(api_settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def settings(api_settings: Settings, api_engine: Engine) -> Settings:
    with api_engine.begin() as connection:
        for table in TABLES:
            connection.execute(text(f"DELETE FROM {table}"))
        others = text("DELETE FROM projects WHERE id <> :default")
        connection.execute(others, {"default": DEFAULT_PROJECT})
    store = Path(api_settings.store_url.removeprefix("file://"))
    for folder in (*store.glob("*"), api_settings.runs_dir):
        shutil.rmtree(folder, ignore_errors=True)
    return api_settings


@pytest.fixture
def sessions(api_engine: Engine) -> Sessions:
    return make_sessions(api_engine)


@pytest.fixture
def client(settings: Settings, api_client: TestClient) -> TestClient:
    api_client.cookies.clear()
    return api_client


@pytest.fixture
def world(settings: Settings, sessions: Sessions) -> World:
    return World(settings, sessions)


@pytest.fixture
def redis_client(settings: Settings) -> Iterator[redis.Redis]:
    """A client of the broker, which is empty."""
    with redis.Redis.from_url(str(settings.redis_url)) as client:
        client.flushdb()
        yield client
