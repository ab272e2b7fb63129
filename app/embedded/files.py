"""State files in a data folder.

stack.lock     locked (flock) while a stack runs; contains its pid, command and port
servers.json   ports and passwords of the embedded servers, reused by every run
stack.json     URLs and process ids of the running stack, for the CLI in another terminal
"""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, Self

from app.core.clock import rfc3339, utc_now
from app.embedded.errors import DataFolderHeld, DataFolderUnusable


@dataclass
class Servers:
    """Content of `servers.json`, readable only by its owner because it contains passwords."""

    postgres_password: str = field(default_factory=lambda: token_hex(24))
    valkey_password: str = field(default_factory=lambda: token_hex(24))
    postgres_port: int | None = None
    valkey_port: int | None = None
    postgres_home: str | None = None
    """Folder of the database, if the user that Postgres runs as cannot enter the data folder."""

    @classmethod
    def load(cls, data_dir: Path) -> Self:
        return cls(**(_read(data_dir / "servers.json") or {}))

    def save(self, data_dir: Path) -> None:
        _write(data_dir / "servers.json", asdict(self))


@dataclass
class State:
    """Content of `stack.json`, readable only by its owner because the URLs contain passwords."""

    url: str
    pid: int
    started_at: str
    data_dir: str
    models_dir: str
    database_url: str
    redis_url: str
    processes: dict[str, int]
    """Process ids by name; updated when a process is restarted."""

    def save(self) -> None:
        _write(Path(self.data_dir) / "stack.json", asdict(self))


def make_data_dir(folder: Path) -> Path:
    """Create the data folder, private to its owner.

    Under root, other users may traverse it, so that `nobody` can reach the folder of Postgres.
    """
    folder = folder.absolute()
    try:
        for missing in reversed([part for part in (folder, *folder.parents) if not part.exists()]):
            missing.mkdir(exist_ok=True)
            missing.chmod(0o711 if os.geteuid() == 0 else 0o700)
        (folder / "logs").mkdir(exist_ok=True)
    except OSError as error:
        raise DataFolderUnusable(
            f"The data folder {folder} cannot be used: {error.strerror}. Choose another with "
            "`--data-dir DIR`."
        ) from None
    return folder


@contextmanager
def hold(data_dir: Path) -> Iterator[Callable[[int], None]]:
    """Lock the data folder for one stack; the kernel releases the lock when the process ends.

    Raises DataFolderHeld, naming the stack that holds the lock. Yields a function that records
    the port for that message.
    """
    with (data_dir / "stack.lock").open("a+") as lock:
        if not _locked(lock, fcntl.LOCK_EX):
            lock.seek(0)
            raise DataFolderHeld(_held_message(data_dir, lock.read()))
        holder = {"pid": os.getpid(), "command": _command(), "started_at": rfc3339(utc_now())}

        def note(port: int) -> None:
            lock.seek(0)
            lock.truncate()
            lock.write(json.dumps({**holder, "port": port}))
            lock.flush()

        note(0)
        try:
            yield note
        finally:
            (data_dir / "stack.json").unlink(missing_ok=True)


def running(data_dir: Path) -> State | None:
    """Return the stack running on this folder; None if there is none, or it is still starting."""
    found = _read(data_dir.absolute() / "stack.json")
    if not found or not is_held(data_dir):
        return None
    # A killed stack leaves its file behind, and the lock may belong to a later one.
    holder = _holder((data_dir / "stack.lock").read_text())
    return State(**found) if holder and holder["pid"] == found["pid"] else None


def is_held(data_dir: Path) -> bool:
    try:
        with (data_dir / "stack.lock").open() as lock:
            return not _locked(lock, fcntl.LOCK_SH)
    except OSError:
        return False


def _locked(lock: IO[str], kind: int) -> bool:
    """Try for a moment, because `is_held` takes a shared lock briefly."""
    for attempt in range(5):
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02 * attempt)
        else:
            return True
    return False


def _held_message(data_dir: Path, text: str) -> str:
    holder = _holder(text)
    if holder is None:
        return f"{data_dir} is in use by another stack that is starting."
    pid, port = holder["pid"], holder["port"]
    where = f", on port {port}" if port else ", still starting"
    return (
        f"{data_dir} is in use by pid {pid} (`{holder['command']}`){where}, since "
        f"{holder['started_at']}. Use that stack, stop it with `kill {pid}`, or start another "
        "one in a different folder: `tunesmith up --data-dir OTHER --port 0`."
    )


def _holder(text: str) -> dict[str, Any] | None:
    """Parse the content of the lock file; None if its holder has not written it yet."""
    with contextlib.suppress(ValueError):
        found: dict[str, Any] = json.loads(text)
        return found
    return None


def _command() -> str:
    name = Path(sys.argv[0]).name
    return " ".join(["tunesmith" if name == "__main__.py" else name, *sys.argv[1:]])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataFolderUnusable(
            f"{path} cannot be read ({error}). Delete it and try again."
        ) from None
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a file atomically, readable only by its owner."""
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file, indent=2)
    part.rename(path)
