"""An adapter on its way out: checked file by file, then stored under its epoch, manifest last."""

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.core.archive import File, zip_chunks, zip_size
from app.core.storage import CHUNK_BYTES, Storage
from worker.reports import ArtifactFile

MANIFEST = "manifest.json"
ARCHIVE = "adapter.zip"
_MAX_HEADER_BYTES = 100 << 20
_ITEM_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F16": 16, "BF16": 16, "I16": 16,
    "U16": 16, "F32": 32, "I32": 32, "U32": 32, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


class BadArtifact(Exception):
    """What lies in the run directory is not what the trainer said it wrote."""


def prefix(job_id: str, epoch: int) -> str:
    return f"artifacts/{job_id}/{epoch}/"


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
            check_safetensors(folder / name)
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
    storage.write(to + ARCHIVE, hashed())
    storage.write_file(to + MANIFEST, folder / MANIFEST)
    archive = {"bytes": zip_size(files), "sha256": digest.hexdigest()}
    return {"prefix": to, "files": [dict(file) for file in files], "zip": archive}


def check_safetensors(path: Path) -> None:
    """The header is JSON and its tensors cover the file's bytes, each once. Raises BadArtifact.

    The format: 8 bytes of length, little endian, then the header, then the tensors' bytes.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, _MAX_HEADER_BYTES):
                raise BadArtifact(f"{path.name} is cut short.")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        ends = _tensor_end(sorted(header.values(), key=lambda each: each["data_offsets"]))
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise BadArtifact(f"{path.name} has no valid header.") from error
    if not header or ends != size - 8 - length:
        raise BadArtifact(f"The tensors of {path.name} do not cover its bytes.")


def _tensor_end(tensors: Sequence[dict[str, Any]]) -> int:
    at = 0
    for tensor in tensors:
        begin, end = tensor["data_offsets"]
        bits = _ITEM_BITS[tensor["dtype"]]
        for side in tensor["shape"]:
            bits *= side
        if begin != at or end - begin != bits // 8:
            raise ValueError("offsets")
        at = end
    return at


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
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return {"path": name, "bytes": path.stat().st_size, "sha256": digest.hexdigest(), "kind": kind}
