"""The files of a dataset: an upload is one, an import has those of a split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.datasets.sources import Upload
from app.core.storage import Storage


def fetch(
    storage: Storage, dataset_id: str, source: Mapping[str, Any] | None, folder: Path
) -> list[Upload]:
    """Fetch them into a folder, in order. Raises FileNotFoundError unless all are there.

    Of an import `datasets/<id>/files/00000`, `00001`, ... are the files its `source` names.
    """
    named = [str(each["path"]) for each in (source or {}).get("files") or ()]
    if not named:
        storage.read_file(f"datasets/{dataset_id}/upload", folder / "upload")
        return [Upload(folder / "upload")]
    fetched = []
    for number, name in enumerate(named):
        path = folder / f"{number:05}"
        storage.read_file(f"datasets/{dataset_id}/files/{number:05}", path)
        fetched.append(Upload(path, name))
    return fetched
