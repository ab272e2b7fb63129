"""An adapter on this machine: unpacked, and every file held against its manifest."""

import hashlib
import json
import zipfile
from pathlib import Path

from app.core.errors import Failure


class ManifestMismatch(Failure):
    code = "manifest_mismatch"


def unpack(archive: Path, folder: Path) -> int:
    """How many files were proven; raises when one is missing, changed, or not in the manifest."""
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(folder)
        found = set(zipped.namelist()) - {"manifest.json"}
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    promised = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    wrong = sorted(
        path for path in found | set(promised) if _sha256(folder / path) != promised.get(path)
    )
    if wrong:
        raise ManifestMismatch(f"{archive} differs from its manifest in: {', '.join(wrong)}.")
    return len(promised)


def _sha256(file: Path) -> str:
    if not file.is_file():
        return "absent"
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
