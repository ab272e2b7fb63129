"""Postgres and Valkey in one data folder, for tests and as the base of a stack."""

import os
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from app.embedded import binaries, files
from app.embedded.account import Account, can_enter, servers_account, shared_folder
from app.embedded.ports import free_port
from app.embedded.postgres import Postgres
from app.embedded.processes import ProcessGroup, Say
from app.embedded.valkey import Valkey

READY_SECONDS = 60.0
"""Long enough for Postgres to recover after a crash."""


@dataclass(frozen=True)
class ServerOptions:
    postgres: bool = True
    valkey: bool = True
    durable: bool = True
    """False turns off flushing to disk, for disposable databases."""


@dataclass(frozen=True)
class Running:
    postgres: Postgres | None
    valkey: Valkey | None


def start(data_dir: Path, group: ProcessGroup, say: Say, options: ServerOptions) -> Running:
    """Start the selected servers and wait until they respond. Ports are reused if still free."""
    account = servers_account()
    saved = files.Servers.load(data_dir)
    valkey = _valkey(saved, account) if options.valkey else None
    postgres = (
        _postgres(data_dir, saved, account, say, options.durable) if options.postgres else None
    )
    saved.save(data_dir)  # before initdb: without its password the cluster would be unusable
    if valkey:
        process = group.start(valkey.program())
        group.until(valkey.is_ready, READY_SECONDS, process)
    if postgres:
        postgres.prepare()
        process = group.start(postgres.program())
        group.until(postgres.is_ready, READY_SECONDS, process)
    return Running(postgres, valkey)


def _valkey(saved: files.Servers, account: Account | None) -> Valkey:
    saved.valkey_port = free_port(saved.valkey_port)
    server = binaries.valkey_server(account)
    return Valkey(server, account, saved.valkey_port, saved.valkey_password)


def _postgres(
    data_dir: Path, saved: files.Servers, account: Account | None, say: Say, durable: bool
) -> Postgres:
    saved.postgres_port = free_port(saved.postgres_port)
    home = _postgres_home(data_dir, saved, account, say)
    programs = binaries.postgres_programs(account)
    return Postgres(programs, home, account, saved.postgres_port, saved.postgres_password, durable)


def _postgres_home(data_dir: Path, saved: files.Servers, account: Account | None, say: Say) -> Path:
    home = Path(saved.postgres_home) if saved.postgres_home else data_dir / "postgres"
    if account and not can_enter(account, home.parent):
        home = shared_folder() / "data" / token_hex(8)
        saved.postgres_home = str(home)
        say(
            f"Postgres stores its files in {home}, because it runs as {account.name}, which cannot "
            f"enter {data_dir}."
        )
    home.mkdir(mode=0o700, exist_ok=True)
    if account:
        os.chown(home, account.uid, account.gid)
    return home
