"""The user the servers run as: the current one, or `nobody` if that is root.

Postgres refuses to run as root.
"""

import os
import pwd
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from app.embedded.errors import DataFolderUnusable

SHARED = Path("/var/lib/tunesmith")
"""Used only by root, for files in a folder that `nobody` cannot enter, such as /root."""


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int
    name: str


def servers_account() -> Account | None:
    """Return the account of the servers; None if they run as the current user."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise DataFolderUnusable(
            "Postgres refuses to run as root and this machine has no user `nobody`. "
            "Start the stack as a user other than root."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def can_enter(account: Account | None, folder: Path) -> bool:
    """Return True if the account may traverse every folder down to this one."""
    if account is None:
        return True
    whole = folder.resolve()
    return all(_lets_pass(account, part.stat()) for part in (whole, *whole.parents))


def reachable_copy(account: Account | None, root: Path, parts: Sequence[str], name: str) -> Path:
    """Return `root` if the account can enter its parts, else a copy of them under `SHARED`.

    The parts keep their relative paths, by which the executables find their libraries.
    """
    if all(can_enter(account, root / part) for part in parts):
        return root
    target = shared_folder() / "programs" / name
    if not target.exists():
        unfinished = target.with_name(f".{name}.{token_hex(4)}")
        for part in parts:
            shutil.copytree(root / part, unfinished / part, symlinks=True)
        for folder in (unfinished, *(each for each in unfinished.rglob("*") if each.is_dir())):
            folder.chmod(0o755)
        try:
            unfinished.rename(target)
        except OSError:  # another stack made the copy first
            shutil.rmtree(unfinished)
    return target


def shared_folder() -> Path:
    try:
        for folder in (SHARED, SHARED / "programs", SHARED / "data"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o711)
    except OSError as error:
        raise DataFolderUnusable(
            f"The servers run as `nobody`, which cannot enter this folder, and {SHARED} cannot be "
            f"used instead ({error}). Choose a folder that every user can enter: --data-dir DIR."
        ) from None
    return SHARED


def _lets_pass(account: Account, info: os.stat_result) -> bool:
    if info.st_uid == account.uid:
        return bool(info.st_mode & stat.S_IXUSR)
    if info.st_gid == account.gid:
        return bool(info.st_mode & stat.S_IXGRP)
    return bool(info.st_mode & stat.S_IXOTH)
