"""Postgres and Valkey together in one data folder: what tests need, and the base of a stack."""

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
"""Recovery after a crash may take a while."""


@dataclass(frozen=True)
class ServerOptions:
    postgres: bool = True
    valkey: bool = True
    durable: bool = True
    """False: no flush to disk, for databases that are thrown away."""


@dataclass(frozen=True)
class Running:
    postgres: Postgres | None
    valkey: Valkey | None


def start(data_dir: Path, group: ProcessGroup, say: Say, wanted: ServerOptions) -> Running:
    """Start what is wanted and wait until it answers. Ports stay the same where they are free."""
    account = servers_account()
    kept = files.Servers.load(data_dir)
    valkey = _valkey(kept, account) if wanted.valkey else None
    postgres = _postgres(data_dir, kept, account, say, wanted.durable) if wanted.postgres else None
    kept.save(data_dir)  # before initdb: a cluster whose password is lost is a lost cluster
    if valkey:
        process = group.start(valkey.program())
        group.until(valkey.is_ready, READY_SECONDS, process)
    if postgres:
        postgres.prepare()
        process = group.start(postgres.program())
        group.until(postgres.is_ready, READY_SECONDS, process)
    return Running(postgres, valkey)


def _valkey(kept: files.Servers, account: Account | None) -> Valkey:
    kept.valkey_port = free_port(kept.valkey_port)
    server = binaries.valkey_server(account)
    return Valkey(server, account, kept.valkey_port, kept.valkey_password)


def _postgres(
    data_dir: Path, kept: files.Servers, account: Account | None, say: Say, durable: bool
) -> Postgres:
    kept.postgres_port = free_port(kept.postgres_port)
    home = _postgres_home(data_dir, kept, account, say)
    programs = binaries.postgres_programs(account)
    return Postgres(programs, home, account, kept.postgres_port, kept.postgres_password, durable)


def _postgres_home(data_dir: Path, kept: files.Servers, account: Account | None, say: Say) -> Path:
    home = Path(kept.postgres_home) if kept.postgres_home else data_dir / "postgres"
    if account and not can_enter(account, home.parent):
        home = shared_folder() / "data" / token_hex(8)
        kept.postgres_home = str(home)
        say(
            f"Postgres keeps its files in {home}: it runs as {account.name}, who may not enter "
            f"{data_dir}."
        )
    home.mkdir(mode=0o700, exist_ok=True)
    if account:
        os.chown(home, account.uid, account.gid)
    return home
