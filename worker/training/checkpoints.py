"""Committed checkpoints: hashed, committed by a manifest written last, verified before use.

The Trainer writes a checkpoint straight into its final folder, so the folder alone proves nothing:
a checkpoint counts if it has a COMMIT.json and every file listed there still has its hash.
"""

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from app.core.jobs.protocol import Plan

COMMIT = "COMMIT.json"
OWN = "checkpoints"
"""Folder of a run directory that holds its checkpoints."""
_NAME = re.compile(r"checkpoint-(\d+)")
_UNUSED = "training_args.bin"
"""A pickle that the Trainer writes and nothing reads."""
_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "safetensors")


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    step: int
    commit: dict[str, Any]


@dataclass(frozen=True)
class Rejected:
    path: Path
    reason: str


def versions() -> dict[str, str]:
    """Versions of the libraries a result depends on, without local build suffixes."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found


def commit(path: Path, *, step: int, epoch: float, fingerprint: str, **more: Any) -> int:
    """Commit a checkpoint durably; return its size in bytes."""
    (path / _UNUSED).unlink(missing_ok=True)
    names = sorted(each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())
    for name in names:
        sync(path / name)
    files = {name: described(path / name) for name in names}
    content = {"step": step, "epoch": epoch, "fingerprint": fingerprint, **more}
    write_durably(path / COMMIT, json.dumps({**content, "versions": versions(), "files": files}))
    sync(path.parent)
    return sum(each["bytes"] for each in files.values())


def folders_of(plan: Plan, run_dir: Path) -> list[Path]:
    """Folders that hold checkpoints of this job: those of earlier epochs, and this run's own."""
    return [*map(Path, plan.resume_from), run_dir / OWN]


def any_committed(folders: list[Path]) -> bool:
    return any(any(each.glob(f"checkpoint-*/{COMMIT}")) for each in folders)


def newest(folders: list[Path], fingerprint: str) -> tuple[Checkpoint | None, list[Rejected]]:
    """The latest checkpoint that can be resumed from, and the later ones that were rejected."""
    found = [
        (int(match[1]), path)
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if (match := _NAME.fullmatch(path.name))
    ]
    rejected: list[Rejected] = []
    for step, path in sorted(found, key=lambda each: each[0], reverse=True):
        if not (path / COMMIT).is_file():
            continue  # never committed, so never reported
        reason = fault(path, fingerprint)
        if reason is None:
            return Checkpoint(path, step, _read(path)), rejected
        rejected.append(Rejected(path, reason))
    return None, rejected


def fault(path: Path, fingerprint: str) -> str | None:
    """Why a committed checkpoint cannot be used; None if it can."""
    try:
        content = _read(path)
        files, made_by = content["files"], content["versions"]
        for name, expected in files.items():
            if described(path / name) != expected:
                return f"{name} has changed since it was committed"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"unreadable: {error}"
    if made_by != versions():
        changed = sorted(k for k, v in versions().items() if made_by.get(k) != v)
        return f"made with other library versions: {', '.join(changed) or 'additional packages'}"
    if content.get("fingerprint") != fingerprint:
        return "made for a different spec, dataset or base model"
    return None


def sweep(folder: Path) -> None:
    """Delete checkpoints that were never committed, such as after a kill during a save."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if _NAME.fullmatch(path.name) and not (path / COMMIT).is_file():
            shutil.rmtree(path)


def described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def write_durably(path: Path, text: str) -> None:
    """Write a file completely or not at all, even if the power fails."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / COMMIT).read_text(encoding="utf-8"))
    return content
