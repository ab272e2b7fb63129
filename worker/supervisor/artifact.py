"""An adapter on its way out: checked file by file, then stored under its epoch, manifest last."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.core import store_keys
from app.core.archive import File, zip_chunks, zip_size
from app.core.models.weights import BadWeights, read_sizes
from app.core.storage import CHUNK_BYTES, Storage
from app.core.store_keys import MANIFEST
from worker.supervisor.report_reader import ArtifactFile


class BadArtifact(Exception):
    """What lies in the run directory is not what the trainer said it wrote."""


def verify(folder: Path, reported: Sequence[ArtifactFile]) -> list[File]:
    """The files, manifest last, each proven to be what was reported. Raises BadArtifact."""
    listed = {file.path: file for file in reported if file.path != MANIFEST}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    if not listed or found != {*listed, MANIFEST}:
        odd = sorted(found ^ {*listed, MANIFEST})[:5]
        raise BadArtifact(f"The artifact's files are not those that were reported: {odd}.")
    _check_manifest(folder, listed)
    files = []
    for name, file in sorted(listed.items()):
        seen = _measured(folder, name, file.kind)
        if (seen["bytes"], seen["sha256"]) != (file.bytes, file.sha256):
            raise BadArtifact(f"{name} has changed since it was reported.")
        if name.endswith(".safetensors"):
            _check_weights(folder / name)
        files.append(seen)
    return [*files, _measured(folder, MANIFEST, "manifest")]


def publish(storage: Storage, folder: Path, files: Sequence[File], to: str) -> dict[str, Any]:
    """Store verified files and their archive under a prefix of their own; returns what the job's
    row is to say.

    Nothing of it is visible before that row says so.
    """

    def chunks(name: str) -> Iterator[bytes]:
        with (folder / name).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for chunk in zip_chunks(files, chunks):
            digest.update(chunk)
            yield chunk

    for file in files[:-1]:
        storage.write_file(to + file["path"], folder / file["path"])
    storage.write(to + store_keys.ADAPTER, hashed())
    storage.write_file(to + MANIFEST, folder / MANIFEST)
    archive = {"bytes": zip_size(files), "sha256": digest.hexdigest()}
    return {"prefix": to, "files": [dict(file) for file in files], "zip": archive}


def _check_weights(path: Path) -> None:
    try:
        read_sizes(path)
    except BadWeights as error:
        raise BadArtifact(f"{path.name} {error}.") from error


def _check_manifest(folder: Path, listed: dict[str, ArtifactFile]) -> None:
    """The manifest's own list agrees with the report: {path: {...}} or [{"path", ...}]."""
    try:
        files = json.loads((folder / MANIFEST).read_bytes())["files"]
        each = (
            [{"path": path, **rest} for path, rest in files.items()]
            if isinstance(files, dict)
            else files
        )
        said = {file["path"]: (file["bytes"], file["sha256"]) for file in each}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadArtifact("The artifact has no readable manifest.") from error
    if said != {name: (file.bytes, file.sha256) for name, file in listed.items()}:
        raise BadArtifact("The manifest and the report name different files.")


def _measured(folder: Path, name: str, kind: str) -> File:
    path = folder / name
    if (
        path.is_symlink()
        or not path.is_file()
        or not path.resolve().is_relative_to(folder.resolve())
    ):
        raise BadArtifact(f"{name} is not a plain file of the artifact.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": name, "bytes": path.stat().st_size, "sha256": digest, "kind": kind}
