"""What a caller can do with datasets. The housekeeper validates the bytes later."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from app.core import store_keys
from app.core.clock import utc_now
from app.core.datasets.content import content_keys
from app.core.datasets.status import DatasetStatus
from app.core.db.models import Dataset, Job, Json
from app.core.db.session import Sessions, after_commit, transaction
from app.core.errors import Conflict, Failure, NotFound
from app.core.jobs.status import FINAL
from app.core.storage import Storage
from app.services import idempotency, uploads
from app.services.caller import Caller
from app.services.idempotency import Answer
from app.services.pages import Cursor, Page, newest_first
from app.services.uploads import Upload


class DatasetNotFound(NotFound):
    code = "dataset_not_found"

    def __init__(self, dataset_id: str) -> None:
        super().__init__(f"No dataset with id {dataset_id!r}.")


class StillValidating(Conflict):
    code = "dataset_validating"

    def __init__(self, dataset_id: str) -> None:
        super().__init__(
            f"Dataset {dataset_id!r} is still being validated; try again in a moment.",
            current=DatasetStatus.VALIDATING,
            allowed=["delete"],
            retry_after_seconds=1,
        )


class ReportMissing(NotFound):
    code = "report_missing"


class FileUnknown(NotFound):
    code = "file_not_found"


class SeveralFiles(Conflict):
    code = "several_files"

    def __init__(self, dataset: Dataset, num_files: int) -> None:
        super().__init__(
            f"Dataset {dataset.id!r} has {num_files} files; choose one, from `?file=0` to "
            f"`?file={num_files - 1}`.",
            current=dataset.status,
            allowed=["delete"],
        )


@dataclass(frozen=True)
class Content:
    key: str
    name: str
    num_bytes: int
    digest: str
    """Hash of exactly these bytes, in hexadecimal."""


class DatasetInUse(Conflict):
    code = "dataset_in_use"

    def __init__(self, dataset: Dataset, job_id: str) -> None:
        super().__init__(
            f"Job {job_id!r} still needs dataset {dataset.id!r}; cancel it or wait until it ends.",
            current=dataset.status,
            allowed=[],
            job=job_id,
        )


def create(session: Session, caller: Caller, upload: Upload) -> Dataset:
    """Record stored bytes as a dataset that waits for validation."""
    dataset = Dataset(
        id=upload.dataset_id,
        project_id=caller.project_id,
        owner_id=caller.owner_id,
        name=upload.name,
        status=DatasetStatus.VALIDATING,
        format=upload.format,
        columns=dict(upload.columns) if upload.columns else None,
        num_bytes=upload.num_bytes,
        sha256=upload.sha256,
    )
    session.add(dataset)
    session.flush()
    return dataset


def register(
    sessions: Sessions,
    storage: Storage,
    caller: Caller,
    upload: Upload,
    *,
    key: str | None,
    render: Callable[[Dataset], Json],
) -> Answer:
    """Record an upload once per Idempotency-Key, in its own transaction: none may be open while the
    bytes arrive.

    Bytes that end up without a row are deleted; if the outcome of the commit is unknown they stay,
    and the housekeeper deletes those that no row refers to.
    """
    body = [upload.sha256, upload.name, upload.format, upload.columns]
    body_sha256 = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    attempt = idempotency.Attempt("POST /datasets", key, body_sha256)
    try:
        with transaction(sessions) as session:
            answer = idempotency.once(
                session, caller, attempt, lambda: render(create(session, caller, upload))
            )
    except Failure:
        uploads.discard(storage, upload.dataset_id)
        raise
    if answer.is_replay:
        uploads.discard(storage, upload.dataset_id)
    return answer


def find(session: Session, caller: Caller, dataset_id: str) -> Dataset | None:
    """Return a dataset or None, locked until commit against deletion and the end of validation."""
    return session.scalar(_own(caller).where(Dataset.id == dataset_id).with_for_update(read=True))


def get(session: Session, caller: Caller, dataset_id: str) -> Dataset:
    dataset = session.scalar(_own(caller).where(Dataset.id == dataset_id))
    if dataset is None:
        raise DatasetNotFound(dataset_id)
    return dataset


def page(session: Session, caller: Caller, cursor: Cursor) -> Page[Dataset]:
    return newest_first(session, Dataset, select(Dataset).where(_not_deleted()), caller, cursor)


def delete(session: Session, storage: Storage, caller: Caller, dataset_id: str) -> None:
    """Delete the data. The row stays, hidden, for the jobs that used it. Raises DatasetInUse."""
    query = _own(caller).where(Dataset.id == dataset_id).with_for_update()
    dataset = session.scalar(query)
    if dataset is None:
        raise DatasetNotFound(dataset_id)
    user = _live_user(session, caller, dataset_id)
    if user is not None:
        raise DatasetInUse(dataset, user)
    dataset.deleted_at = utc_now()
    if dataset.status == DatasetStatus.VALIDATING:
        dataset.status = DatasetStatus.INVALID  # it no longer needs validation
    after_commit(session, lambda: storage.delete_all(store_keys.dataset(dataset_id)))


def validated(session: Session, caller: Caller, dataset_id: str) -> Dataset:
    """Return a dataset whose validation has ended. Raises StillValidating."""
    dataset = get(session, caller, dataset_id)
    if dataset.status == DatasetStatus.VALIDATING:
        raise StillValidating(dataset_id)
    return dataset


def rows(storage: Storage, dataset: Dataset, offset: int, limit: int) -> list[dict[str, Any]]:
    """Return canonical rows offset..offset+limit; earlier ones are skipped, never held."""
    found = lines(storage, dataset, range(offset, offset + limit))
    return [json.loads(line) for _, line in found]


def all_rows(storage: Storage, dataset_id: str) -> Iterator[bytes]:
    """Yield all canonical rows as chunks of bytes; nothing for a dataset without valid rows."""
    try:
        yield from storage.read(store_keys.rows(dataset_id))
    except FileNotFoundError:
        return


def lines(storage: Storage, dataset: Dataset, numbers: Collection[int]) -> list[tuple[int, bytes]]:
    """Return the canonical rows with these numbers, from 0; numbers past the end are left out."""
    try:
        some = islice(_lines(storage.read(store_keys.rows(dataset.id))), max(numbers) + 1)
        return [(number, line) for number, line in enumerate(some) if number in numbers]
    except FileNotFoundError:
        return []


def report(storage: Storage, dataset: Dataset) -> Iterator[bytes]:
    """Return the stored report, unchanged. Raises ReportMissing."""
    key = store_keys.report(dataset.id)
    if not storage.exists(key):
        raise ReportMissing(
            f"Validation of dataset {dataset.id!r} did not finish; upload it again."
        )
    return storage.read(key)


def with_overlap(report: Iterator[bytes], overlap: Json) -> Iterator[bytes]:
    """Add the member `overlap` to a report's JSON; only its last chunk is held in memory."""
    last = b""
    for chunk in report:
        yield last
        last = chunk
    yield last.rstrip().removesuffix(b"}") + b', "overlap": ' + json.dumps(overlap).encode() + b"}"


def fingerprint(dataset: Dataset) -> str:
    """Hash all that its rows derive from: equal under another id, different for other columns."""
    sizes = [file["bytes"] for file in (dataset.source or {"files": []})["files"]]
    parts = [dataset.sha256, dataset.columns, sizes if len(sizes) > 1 else None]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def content(dataset: Dataset, file: int | None) -> Content:
    """Return one file of a dataset. Raises StillValidating, SeveralFiles or FileUnknown."""
    keys = content_keys(dataset.id, dataset.source)
    if dataset.sha256 is None and dataset.status == DatasetStatus.VALIDATING:
        raise StillValidating(dataset.id)
    if file is None and len(keys) > 1:
        raise SeveralFiles(dataset, len(keys))
    if (file or 0) >= len(keys):
        raise FileUnknown(f"Dataset {dataset.id!r} has {len(keys)} files, starting at `?file=0`.")
    key = keys[file or 0]
    if dataset.source is None:
        return Content(key, dataset.name, dataset.num_bytes, dataset.sha256 or "")
    found = dataset.source["files"][file or 0]
    name = str(found["path"]).rpartition("/")[2]
    return Content(key, name, found["bytes"], str(found["digest"]).partition(":")[2])


def _own(caller: Caller) -> Select[Dataset]:
    return select(Dataset).where(Dataset.project_id == caller.project_id, _not_deleted())


def _not_deleted() -> ColumnElement[bool]:
    return Dataset.deleted_at.is_(None)


def _live_user(session: Session, caller: Caller, dataset_id: str) -> str | None:
    held_out = Job.spec["validation"]["dataset"].astext
    return session.scalar(
        select(Job.id)
        .where(Job.project_id == caller.project_id, Job.status.not_in(FINAL))
        .where(or_(Job.dataset_id == dataset_id, held_out == dataset_id))
        .limit(1)
    )


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest
