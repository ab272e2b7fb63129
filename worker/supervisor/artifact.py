"""Publishes an adapter: verifies each file, then stores them under the epoch, manifest last."""

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
    """The files in the run directory are not the ones the trainer reported."""


def verify(folder: Path, reported: Sequence[ArtifactFile]) -> list[File]:
    """Return the files, manifest last, each verified against the report. Raises BadArtifact."""
    listed = {file.path: file for file in reported if file.path != MANIFEST}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    if not listed or found != {*listed, MANIFEST}:
        differing = sorted(found ^ {*listed, MANIFEST})[:5]
        raise BadArtifact(f"The artifact's files differ from the reported ones: {differing}.")
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
    """Store verified files and their zip under the prefix `to`; return the `artifact` of the job's
    row.

    Nothing is visible to clients before that row is written.
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
    """Check the manifest's list, {path: {...}} or [{"path", ...}], against the report."""
    try:
        files = json.loads((folder / MANIFEST).read_bytes())["files"]
        each = (
            [{"path": path, **rest} for path, rest in files.items()]
            if isinstance(files, dict)
            else files
        )
        manifest = {file["path"]: (file["bytes"], file["sha256"]) for file in each}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadArtifact("The artifact has no readable manifest.") from error
    if manifest != {name: (file.bytes, file.sha256) for name, file in listed.items()}:
        raise BadArtifact("The manifest and the report list different files.")


def _measured(folder: Path, name: str, kind: str) -> File:
    path = folder / name
    if (
        path.is_symlink()
        or not path.is_file()
        or not path.resolve().is_relative_to(folder.resolve())
    ):
        raise BadArtifact(f"{name} is not a regular file inside the artifact.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": name, "bytes": path.stat().st_size, "sha256": digest, "kind": kind}
