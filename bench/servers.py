"""A Postgres server for benchmarks, durable as in production."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.db import migrate
from app.core.db.session import Sessions, make_engine, make_sessions
from app.embedded import files, servers
from app.embedded.processes import ProcessGroup


def pause(seconds: float) -> bool:
    """Wait as a `ProcessGroup` that is never asked to stop."""
    time.sleep(seconds)
    return False


@contextmanager
def fresh_database() -> Iterator[Sessions]:
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-bench-"))
    folder.chmod(0o711)
    data_dir = files.make_data_dir(folder / "servers")
    group = ProcessGroup(data_dir / "logs", pause, print)
    try:
        running = servers.start(
            data_dir, group, print, servers.ServerOptions(postgres=True, valkey=False, durable=True)
        )
        assert running.postgres
        migrate.upgrade(running.postgres.url())
        engine = make_engine(running.postgres.url())
        yield make_sessions(engine)
        engine.dispose()
    finally:
        group.stop(("postgres",))
        shutil.rmtree(folder, ignore_errors=True)
