"""Downloads a file from the server, resumes after a break, and verifies its SHA-256."""

import hashlib
import os
import time
from pathlib import Path

import httpx

from app.cli.client import Refused, Server, Unreachable
from app.core.errors import Failure

TRIES = 8


class Corrupt(Failure):
    code = "download_corrupt"

    def __init__(self, target: Path, expected: str, found: str) -> None:
        super().__init__(
            f"The download of {target} has sha256 {found}, but the server announced {expected}. "
            "It was deleted; run the command again."
        )


class OutputUnusable(Failure):
    code = "output_unusable"


def target_of(output: Path | None, job_id: str) -> Path:
    """Return the file to write. Raises OutputUnusable before the download if it cannot be used."""
    target = output or Path(f"{job_id}.zip")
    if target.is_dir():
        target /= f"{job_id}.zip"
    if not target.parent.is_dir():
        raise OutputUnusable(f"The folder {target.parent} does not exist; create it first.")
    if target.exists() and not target.is_file():
        raise OutputUnusable(f"{target} is not a file; choose another path with -o.")
    return target


def download_adapter(server: Server, job_id: str, target: Path, tries: int = TRIES) -> str:
    return download(server, f"/jobs/{job_id}/adapter", target, tries)


def download(server: Server, path: str, target: Path, tries: int = TRIES) -> str:
    """Download a file and return its SHA-256, which must equal the server's ETag.

    `target` appears only complete and verified. Until then the bytes are in a file beside it, so
    that a later try resumes where this one stopped.
    """
    part = target.with_name(f".{target.name}.part")
    tag = target.with_name(f".{target.name}.etag")
    for tried in range(1, tries + 1):
        try:
            _fetch(server, path, part, tag)
            break
        except httpx.TransportError as error:
            if tried == tries:
                raise Unreachable(server.url, str(error) or type(error).__name__) from None
            time.sleep(min(0.2 * 2**tried, 5))
    expected, found = tag.read_text(), _sha256(part)
    tag.unlink()
    if expected != found:
        part.unlink()
        raise Corrupt(target, expected, found)
    part.replace(target)
    return found


def _fetch(server: Server, path: str, part: Path, tag: Path) -> None:
    have = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": f'"{tag.read_text()}"'}
    with server.stream(path, headers) as response:
        if response.status_code == 416:  # the file seems to be complete already
            return
        resumed = response.status_code == 206
        if not resumed:
            etag = response.headers.get("ETag", "").removeprefix("W/").strip('"')
            if not etag:
                raise Refused("The server sent no ETag, so the file cannot be verified.")
            tag.write_text(etag)
        with part.open("ab" if resumed else "wb") as file:
            for piece in response.iter_raw():
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
