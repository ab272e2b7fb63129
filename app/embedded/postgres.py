"""Embedded Postgres 18: its cluster is created once, then it runs on a loopback port."""

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from app.embedded.account import Account
from app.embedded.errors import DataFolderUnusable, StartFailed
from app.embedded.process import Program

MAJOR = "18"
USER = "tunesmith"
DATABASE = "tunesmith"
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
# Test databases are not worth a disk flush.
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


@dataclass(frozen=True)
class Postgres:
    programs: Path
    """The folder of `initdb` and `postgres`."""
    home: Path
    """Folder that contains `data`; owned by the account."""
    account: Account | None
    port: int
    password: str
    durable: bool = True

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql+psycopg://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Create the database cluster if there is none. An interrupted creation leaves none."""
        data, part = self.home / "data", self.home / "data.part"
        if not data.exists():
            shutil.rmtree(part, ignore_errors=True)
            self._initdb(part)
            part.rename(data)
        major = (data / "PG_VERSION").read_text().strip()
        if major != MAJOR:
            raise DataFolderUnusable(
                f"{data} was created by Postgres {major}, but this is Postgres {MAJOR}. Move it "
                f"away to start with an empty database, or dump it with Postgres {major} first."
            )
        _end_leftover(data)

    def program(self) -> Program:
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "log_timezone=UTC",
            *(() if self.durable else _NOT_DURABLE),
        ]
        return Program(
            name="postgres",
            command=[
                str(self.programs / "postgres"),
                *("-D", str(self.home / "data")),
                *(word for setting in settings for word in ("-c", setting)),
            ],
            environment=_ENVIRONMENT,
            account=self.account,
            stop_signal=signal.SIGINT,  # "fast" shutdown: ends sessions, then flushes to disk
            orphan_signal=signal.SIGINT,
        )

    def is_ready(self) -> bool:
        """Return True if it answers a query. Creates the database if it does not exist."""
        try:
            with self._connect("postgres") as connection:
                known = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
                ).fetchone()
                if not known:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self.password,
            dbname=database,
            connect_timeout=2,
            autocommit=True,
        )

    def _initdb(self, folder: Path) -> None:
        secret = self.home / "password.part"
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self.password)
        if self.account:
            os.chown(secret, self.account.uid, self.account.gid)
        command = [
            *(str(self.programs / "initdb"), "-D", str(folder), "-U", USER),
            *(f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8"),
            *("--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions"),
            *(() if self.durable else ("--no-sync",)),
        ]
        account = self.account
        done = subprocess.run(
            command,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        secret.unlink()
        if done.returncode != 0:
            raise StartFailed("initdb", f"failed: {done.stderr.strip()[-1000:]}")


def _end_leftover(data: Path) -> None:
    """Stop a postmaster that outlived its stack, and delete a pid file with a recycled pid.

    The data folder is locked by this process, so no other stack is using that postmaster.
    """
    pid_file = data / "postmaster.pid"
    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        ours = process.name() == "postgres" and str(data) in process.cmdline()
    except (OSError, ValueError, IndexError, psutil.Error):
        return  # no pid file, or a dead pid: Postgres handles that itself
    if not ours:
        pid_file.unlink(missing_ok=True)
        return
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGINT)
        process.wait(10)
