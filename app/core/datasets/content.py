"""A dataset's objects in the store: the upload or the imported files, and the report."""

from pathlib import Path

from app.core import store_keys
from app.core.datasets.checking import report
from app.core.datasets.reading.sources import Upload
from app.core.db.models import Json
from app.core.storage import Storage


def content_keys(dataset_id: str, source: Json | None) -> list[str]:
    """Return the keys of the dataset's files, in the order their rows are read."""
    if source is None:
        return [store_keys.dataset_upload(dataset_id)]
    return [store_keys.dataset_file(dataset_id, at) for at in range(len(source["files"]))]


def fetch(storage: Storage, dataset_id: str, source: Json | None, folder: Path) -> list[Upload]:
    """Copy its files into a folder, in order. Raises FileNotFoundError if one is missing."""
    names = [str(each["path"]) for each in source["files"]] if source else [None]
    fetched = []
    for at, (key, name) in enumerate(zip(content_keys(dataset_id, source), names, strict=True)):
        path = folder / f"upload-{at}"
        storage.read_file(key, path)
        fetched.append(Upload(path, name))
    return fetched


def store_broken_off(storage: Storage, dataset_id: str, code: str, message: str) -> None:
    """Store the report of a dataset whose rows could not be checked."""
    for name, made in report.broken_off(code, message).items():
        storage.write(store_keys.dataset(dataset_id, name), [made])
