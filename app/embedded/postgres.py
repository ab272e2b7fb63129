"""A Postgres 18 of our own: made once in its folder, then run on a loopback port."""

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
# Nothing of a test's database is worth a disk flush.
_FLEETING = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


@dataclass(frozen=True)
class Postgres:
    programs: Path
    """The folder of `initdb` and `postgres`."""
    home: Path
    """Holds `data`; owned by the account."""
    account: Account | None
    port: int
    password: str
    durable: bool = True

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql+psycopg://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Make the database cluster if there is none. An interrupted making leaves none."""
        data, part = self.home / "data", self.home / "data.part"
        if not data.exists():
            shutil.rmtree(part, ignore_errors=True)
            self._initdb(part)
            part.rename(data)
        major = (data / "PG_VERSION").read_text().strip()
        if major != MAJOR:
            raise DataFolderUnusable(
                f"{data} was made by Postgres {major}; this is {MAJOR}. Move it away to start "
                "afresh, or dump it with the older program first."
            )
        _end_leftover(data)

    def program(self) -> Program:
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "log_timezone=UTC",
            *(() if self.durable else _FLEETING),
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
            stop_signal=signal.SIGINT,  # "fast": ends sessions, then writes everything down
            orphan_signal=signal.SIGINT,
        )

    def is_ready(self) -> bool:
        """Whether it answers a query; makes our database on the way."""
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
    """End a postmaster that outlived its stack, and drop a pid file whose pid is now another's.

    We hold the data folder's lock, so whoever still runs on it is nobody's.
    """
    pid_file = data / "postmaster.pid"
    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        ours = process.name() == "postgres" and str(data) in process.cmdline()
    except (OSError, ValueError, IndexError, psutil.Error):
        return  # none, or dead: Postgres clears that itself
    if not ours:
        pid_file.unlink(missing_ok=True)
        return
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGINT)
        process.wait(10)
