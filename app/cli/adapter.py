"""Unpacks a downloaded adapter and verifies every file against its manifest."""

import hashlib
import json
import zipfile
from pathlib import Path

from app.core.errors import Failure


class ManifestMismatch(Failure):
    code = "manifest_mismatch"


def unpack(archive: Path, folder: Path) -> int:
    """Unpack the archive and return the number of files verified.

    Raises ManifestMismatch if a file is missing, changed, or not in the manifest.
    """
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(folder)
        found = set(zipped.namelist()) - {"manifest.json"}
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    expected = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    wrong = sorted(
        path for path in found | set(expected) if _sha256(folder / path) != expected.get(path)
    )
    if wrong:
        raise ManifestMismatch(f"{archive} differs from its manifest in: {', '.join(wrong)}.")
    return len(expected)


def _sha256(file: Path) -> str:
    if not file.is_file():
        return "absent"
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
