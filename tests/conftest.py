"""Fixtures every test shares: real servers once per run, a clean database per test.

TEST_DATABASE_URL and TEST_REDIS_URL name servers to use instead of the embedded ones. The Redis
database named there is flushed before each test.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import psycopg
import pytest
import redis
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from app.core.db import migrate
from app.core.db.session import Sessions, make_engine, make_sessions
from app.core.settings import Settings
from app.embedded import files, servers
from app.embedded.keeper import Keeper
from tests.stacks import ROOT, RunningStack


@pytest.fixture(scope="session")
def run_dir() -> Iterator[Path]:
    """A folder for this test run. Not pytest's own: as root, Postgres's user may not enter that."""
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-test-"))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server_urls(run_dir: Path) -> Iterator[tuple[str, str]]:
    """A Postgres (with the right to create databases) and a Redis."""
    postgres, valkey = os.environ.get("TEST_DATABASE_URL"), os.environ.get("TEST_REDIS_URL")
    data_dir = files.make_data_dir(run_dir / "servers")
    keeper = Keeper(data_dir / "logs", lambda seconds: bool(time.sleep(seconds)), print)
    wanted = servers.Wanted(postgres=not postgres, valkey=not valkey, durable=False)
    try:
        running = servers.start(data_dir, keeper, print, wanted)
        yield (
            running.postgres.url() if running.postgres else str(postgres),
            running.valkey.url() if running.valkey else str(valkey),
        )
    finally:
        keeper.stop(("valkey", "postgres"))


@pytest.fixture(scope="session")
def template_database(server_urls: tuple[str, str]) -> Iterator[str]:
    """The name of a database that has every migration and no row."""
    server = server_urls[0]
    name = _create(server)
    migrate.upgrade(_url_of(server, name))
    yield name
    _drop(server, name)


@pytest.fixture
def database_url(server_urls: tuple[str, str], template_database: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    name = _create(server_urls[0], template_database)
    yield _url_of(server_urls[0], name)
    _drop(server_urls[0], name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    return make_sessions(engine)


@pytest.fixture
def redis_url(server_urls: tuple[str, str]) -> str:
    """An empty Redis database."""
    with redis.Redis.from_url(server_urls[1]) as client:
        client.flushdb()
    return server_urls[1]


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    """With times short enough to wait for."""
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        data_dir=tmp_path / "data",
        models_dir=ROOT / "examples" / "models",
        port=0,
        lease_seconds=3,
        renew_seconds=0.5,
        reap_seconds=0.5,
        ring_seconds=1,
        stop_grace_seconds=5,
        stall_seconds=30,
        retry_base_seconds=0.1,
        log_format="json",
    )


@pytest.fixture(scope="module")
def stack_environment() -> dict[str, str]:
    """TUNESMITH_* for `stack`; a module that needs others defines its own fixture of this name."""
    return {}


@pytest.fixture(scope="module")
def stack(
    run_dir: Path, server_urls: tuple[str, str], stack_environment: dict[str, str]
) -> Iterator[RunningStack]:
    """`tunesmith up`: API, worker and reaper on servers of its own, shared by a module's tests."""
    folder = run_dir / f"stack-{token_hex(4)}"
    folder.mkdir(mode=0o711)
    external, made = _external_servers(server_urls[0])
    running = RunningStack(
        folder / "data", ROOT / "examples" / "models", {**external, **stack_environment}
    )
    try:
        running.start()
        yield running
    finally:
        running.stop()
        if made:
            _drop(server_urls[0], made)


def _external_servers(server: str) -> tuple[dict[str, str], str | None]:
    """For `up`: the servers that were named to us, with a database of the stack's own."""
    environment, made = {}, None
    if os.environ.get("TEST_DATABASE_URL"):
        made = _create(server)
        environment["TUNESMITH_DATABASE_URL"] = _url_of(server, made)
    if named := os.environ.get("TEST_REDIS_URL"):
        environment["TUNESMITH_REDIS_URL"] = named
    return environment, made


def _create(server: str, template: str = "template1") -> str:
    name = f"test_{token_hex(6)}"
    # FILE_COPY: half the time of the default for a database this small.
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return name


def _drop(server: str, name: str) -> None:
    _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _execute(server: str, statement: str) -> None:
    plain = make_url(server).set(drivername="postgresql")
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as session:
        session.execute(statement.encode())


def _url_of(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)
