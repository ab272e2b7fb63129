"""A complete stack in one data folder: servers, migrations, API, housekeeper, worker.

Everything here runs on one thread: a tethered child is killed when the thread that started it ends.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path

from app.core.clock import rfc3339, utc_now
from app.core.errors import Failure, Problem
from app.core.settings import Settings
from app.embedded import files, servers
from app.embedded.errors import ModelsMissing, WorkerMissing
from app.embedded.ports import listen
from app.embedded.process import Program
from app.embedded.processes import ProcessGroup, Say, Wait

SERVICES = ("worker", "housekeeper", "api")
SERVERS = ("valkey", "postgres")
READY_SECONDS = 90.0
_CODE = Path(__file__).parents[2]
"""Working directory of the children, so that `app` and `worker` are importable if not installed."""
_TRAINING_PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")


@dataclass(frozen=True)
class Choices:
    """Options of a stack."""

    worker: bool = True
    durable: bool = True


@dataclass
class Stack:
    settings: Settings
    """Settings with absolute folders and both server URLs."""
    group: ProcessGroup
    state: files.State

    def watch(self, wait: Wait) -> None:
        """Restart processes that die, until a stop is requested."""
        while not wait(0.2):
            if self.group.revive():
                self.state.processes = self.group.pids
                self.state.save()


@contextmanager
def run(settings: Settings, choices: Choices, wait: Wait, say: Say) -> Iterator[Stack]:
    """Run a stack: ready when this yields, completely stopped when the context ends."""
    _check_installation(settings, choices)
    data_dir = files.make_data_dir(settings.data_dir)
    with files.hold(data_dir) as note, listen(settings.host, settings.port) as socket_:
        port = socket_.getsockname()[1]
        note(port)
        group = ProcessGroup(data_dir / "logs", wait, say)
        hurry = True
        try:
            settings = _with_servers(settings, data_dir, port, group, choices, say)
            _migrate(settings, say)
            stack = Stack(settings, group, _state(settings))
            _start_services(stack, socket_, choices, say)
            hurry = False
            yield stack
        finally:
            group.stop(SERVICES, hurry=hurry)
            group.stop(SERVERS)


def _check_installation(settings: Settings, choices: Choices) -> None:
    """Raise one failure for all that is missing: a new installation often lacks both."""
    missing = []
    for check in (lambda: check_models(settings.models_dir), *[check_worker] * choices.worker):
        try:
            check()
        except Failure as failure:
            missing.append(failure)
    if missing:
        first, *others = missing
        first.errors = tuple(Problem("", other.code, other.detail) for other in others)
        raise first


def check_models(folder: Path) -> None:
    if not (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)):
        raise ModelsMissing(folder.absolute())


def check_worker() -> None:
    for package in _TRAINING_PACKAGES:
        if find_spec(package) is None:
            raise WorkerMissing(package)


def _with_servers(
    settings: Settings, data_dir: Path, port: int, group: ProcessGroup, choices: Choices, say: Say
) -> Settings:
    options = servers.ServerOptions(
        postgres=settings.database_url is None,
        valkey=settings.redis_url is None,
        durable=choices.durable,
    )
    if options.postgres or options.valkey:
        say("Starting Postgres and Valkey")
    running = servers.start(data_dir, group, say, options)
    urls = {
        "database_url": running.postgres.url() if running.postgres else settings.database_url,
        "redis_url": running.valkey.url() if running.valkey else settings.redis_url,
    }
    folders = {"data_dir": data_dir, "models_dir": settings.models_dir.absolute()}
    return settings.model_copy(update={**urls, **folders, "port": port})


def _migrate(settings: Settings, say: Say) -> None:
    from app.core.db import migrate  # imported here: SQLAlchemy and Alembic take half a second

    assert settings.database_url
    say("Migrating the database")
    migrate.upgrade(settings.database_url)


def _start_services(stack: Stack, listening: socket.socket, choices: Choices, say: Say) -> None:
    say("Starting the API" + (" and a worker" if choices.worker else " without a worker"))
    environment = _environment(stack.settings)
    needed = [stack.group.start(_api(listening.fileno(), environment))]
    needed.append(stack.group.start(_python("housekeeper", environment, "worker.housekeeper")))
    if choices.worker:
        needed.append(stack.group.start(_worker(stack.settings, environment)))
    stack.group.until(lambda: _answers(listening), READY_SECONDS, *reversed(needed))
    stack.state.processes = stack.group.pids
    stack.state.save()


def _api(socket_number: int, environment: dict[str, str]) -> Program:
    words = ("uvicorn", "app.main:create_app", "--factory", "--fd", str(socket_number))
    graceful = ("--timeout-graceful-shutdown", "5")
    return _python("api", environment, *words, *graceful, inherited=(socket_number,))


def _worker(settings: Settings, environment: dict[str, str]) -> Program:
    # A running trainer has `stop_grace_seconds` to commit a checkpoint before the worker ends.
    return _python("worker", environment, "worker", grace_seconds=settings.stop_grace_seconds + 10)


def _python(
    name: str,
    environment: dict[str, str],
    *module_and_words: str,
    inherited: tuple[int, ...] = (),
    grace_seconds: float = 10,
) -> Program:
    return Program(
        name=name,
        command=[sys.executable, "-m", *module_and_words],
        environment=environment,
        working_dir=_CODE,
        inherited=inherited,
        grace_seconds=grace_seconds,
    )


def _environment(settings: Settings) -> dict[str, str]:
    """Return our environment with the resolved settings of the command line and the servers."""
    resolved = {
        name: str(getattr(settings, name))
        for name in ("database_url", "redis_url", "data_dir", "models_dir", "host", "port")
    }
    variables = {f"TUNESMITH_{name.upper()}": value for name, value in resolved.items()}
    return {**os.environ, **variables, "PYTHONUNBUFFERED": "1"}


def _state(settings: Settings) -> files.State:
    return files.State(
        url=base_url(settings.host, settings.port),
        pid=os.getpid(),
        started_at=rfc3339(utc_now()),
        data_dir=str(settings.data_dir),
        models_dir=str(settings.models_dir),
        database_url=str(settings.database_url),
        redis_url=str(settings.redis_url),
        processes={},
    )


def base_url(host: str, port: int) -> str:
    """Return the URL of the API for clients on this machine."""
    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"http://{f'[{here}]' if ':' in here and '[' not in here else here}:{port}"


def _answers(listening: socket.socket) -> bool:
    """Return True if /readyz answers 200. Proxies configured in the environment are not used."""
    host, port = listening.getsockname()[:2]
    connection = HTTPConnection({"0.0.0.0": "127.0.0.1"}.get(host, host), port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
