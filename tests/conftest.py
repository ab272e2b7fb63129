"""Fixtures shared by all tests: real servers once per run, a clean database per test.

TEST_DATABASE_URL and TEST_REDIS_URL select other servers than the embedded ones. That Redis
database is flushed before each test.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex

import pytest
import redis
from sqlalchemy import Engine

from app.core.db.session import Sessions, make_engine, make_sessions
from app.core.settings import Settings
from app.embedded import files, servers
from app.embedded.processes import ProcessGroup
from tests.databases import Databases
from tests.stacks import ROOT, RunningStack
from tests.waiting import pause

TESTS = ROOT / "tests"
TRAINER = (
    *("training", "faults", "embedded", "cli", "examples"),
    *("test_spine.py", "test_dry_run.py", "test_docker.py"),
)
"""Tests here start the real trainer, a whole stack, or load what the trainer loads."""
MEMORY = Path("/dev/shm")
PREFIX = "tunesmith-test-"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Not even imported where they are left out: importing torch takes longer than many tests."""
    is_left_out = "not trainer" in config.getoption("markexpr")
    return True if is_left_out and is_trainers(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test-fast` leaves out `trainer` and `slow`; the second is marked where the test is."""
    for item in items:
        if is_trainers(item.path):
            item.add_marker(pytest.mark.trainer)
    # Long files first, so that no process is left alone with one of them at the end.
    items.sort(key=lambda item: not is_trainers(item.path))


def is_trainers(path: Path) -> bool:
    return any(path.is_relative_to(TESTS / name) for name in TRAINER)


@pytest.fixture(scope="session")
def run_dir() -> Iterator[Path]:
    """A folder for this test run. Not pytest's: as root, Postgres's user could not enter that."""
    folder = _open_folder(None)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def memory_dir(run_dir: Path) -> Iterator[Path]:
    """Like `run_dir`, but in memory if there is room.

    Copying a database took 15 ms there, 230 ms on a busy disk.
    """
    if not _has_room(MEMORY):
        yield run_dir
        return
    folder = _open_folder(MEMORY)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server_urls(memory_dir: Path) -> Iterator[tuple[str, str]]:
    """URLs of a Postgres server (with permission to create databases) and a Redis."""
    named = os.environ.get("TEST_DATABASE_URL"), os.environ.get("TEST_REDIS_URL")
    data_dir = files.make_data_dir(memory_dir / "servers")
    group = ProcessGroup(data_dir / "logs", pause, print)
    options = servers.ServerOptions(postgres=not named[0], valkey=not named[1], durable=False)
    with files.hold(data_dir):
        try:
            running = servers.start(data_dir, group, print, options)
            yield (
                running.postgres.url() if running.postgres else str(named[0]),
                running.valkey.url() if running.valkey else str(named[1]),
            )
        finally:
            group.stop(("valkey", "postgres"))


@pytest.fixture(scope="session")
def databases(server_urls: tuple[str, str]) -> Iterator[Databases]:
    made = Databases(server_urls[0])
    yield made
    made.close()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """URL of a migrated, empty database for this test."""
    with databases.fresh() as url:
        yield url


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
    """URL of an empty Redis database."""
    with redis.Redis.from_url(server_urls[1]) as client:
        client.flushdb()
    return server_urls[1]


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    """Settings with timeouts short enough for tests."""
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        data_dir=tmp_path / "data",
        models_dir=ROOT / "examples" / "models",
        port=0,
        lease_seconds=3,
        renew_seconds=0.5,
        reclaim_seconds=0.5,
        wake_seconds=1,
        stop_grace_seconds=5,
        stall_seconds=30,
        retry_base_seconds=0.1,
        log_format="json",
    )


@pytest.fixture(scope="module")
def stack_environment() -> dict[str, str]:
    """TUNESMITH_* variables for `stack`; a module may override this fixture with its own."""
    return {}


@pytest.fixture(scope="module")
def stack(
    run_dir: Path, request: pytest.FixtureRequest, stack_environment: dict[str, str]
) -> Iterator[RunningStack]:
    """`tunesmith up`: a whole stack with its own servers, shared by the tests of a module."""
    folder = run_dir / f"stack-{token_hex(4)}"
    folder.mkdir(mode=0o711)
    with ExitStack() as cleanup:
        environment = dict(stack_environment)
        if os.environ.get("TEST_DATABASE_URL"):
            databases: Databases = request.getfixturevalue("databases")
            environment["TUNESMITH_DATABASE_URL"] = cleanup.enter_context(databases.fresh())
        if named := os.environ.get("TEST_REDIS_URL"):
            environment["TUNESMITH_REDIS_URL"] = named
        running = RunningStack(folder / "data", ROOT / "examples" / "models", environment)
        cleanup.callback(running.stop)
        running.start()
        yield running


def _open_folder(parent: Path | None) -> Path:
    """A folder that its owner can list and Postgres's user can pass through."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return folder


def _has_room(folder: Path) -> bool:
    """Whether the folder has room; first deletes what killed test runs left there."""
    if not os.access(folder, os.W_OK):
        return False
    for lock in folder.glob(f"{PREFIX}*/servers/stack.lock"):
        if os.access(lock, os.W_OK) and not files.is_held(lock.parent):
            shutil.rmtree(lock.parents[1], ignore_errors=True)
    return shutil.disk_usage(folder).free > 1 << 30
