"""Uploads in parts: declared, filled in any order, then assembled into one dataset.

No dataset exists before all its bytes have arrived and match the declared size and hash.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core import store_keys
from app.core.db.models import NOW, Dataset, Json, PartialUpload
from app.core.db.session import Sessions, transaction
from app.core.errors import Conflict, Failure, NotFound, TooLarge
from app.core.ids import new_id
from app.core.settings import Settings
from app.core.storage import Storage
from app.services import datasets, parts, uploads
from app.services.caller import Caller
from app.services.idempotency import Answer
from app.services.parts import Part
from app.services.uploads import Promise, Upload, UploadMismatch

Render = Callable[[Dataset], Json]
_log = structlog.get_logger(__name__)


class UploadNotFound(NotFound):
    code = "upload_not_found"

    def __init__(self, upload_id: str) -> None:
        hours = PartialUpload.KEPT_FOR.total_seconds() / 3600
        super().__init__(
            f"No upload with id {upload_id!r}; uploads expire after {hours:.0f} hours."
        )


class UploadCompleted(Conflict):
    code = "upload_completed"


class UploadCompleting(Conflict):
    code = "upload_completing"


class UploadIncomplete(Conflict):
    code = "upload_incomplete"


@dataclass(frozen=True)
class Announced:
    """What a caller declares before sending parts."""

    name: str
    format: str
    num_bytes: int
    sha256: str
    columns: dict[str, str] | None = None
    """The caller's mapping from our column names to the upload's."""


class UnderWay:
    """Uploads this process is assembling, so that a second request does not copy them again."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, upload_id: str) -> Iterator[None]:
        with self._lock:
            if upload_id in self._ids:
                raise UploadCompleting(
                    f"Upload {upload_id!r} is being assembled; try again in a moment.",
                    current="completing",
                    allowed=[],
                    retry_after_seconds=1,
                )
            self._ids.add(upload_id)
        try:
            yield
        finally:
            with self._lock:
                self._ids.discard(upload_id)


def create(
    session: Session, caller: Caller, settings: Settings, announced: Announced
) -> PartialUpload:
    limit = settings.max_upload_bytes
    if announced.num_bytes > limit:
        detail = f"An upload may have at most {limit:,} bytes, not {announced.num_bytes:,}."
        raise TooLarge(detail, limit=limit)
    upload = PartialUpload(
        id=new_id("upl"),
        project_id=caller.project_id,
        owner_id=caller.owner_id,
        **asdict(announced),
    )
    session.add(upload)
    session.flush()
    session.refresh(upload)
    return upload


def get(
    session: Session, caller: Caller, upload_id: str, *, is_locked: bool = False
) -> PartialUpload:
    query = select(PartialUpload).where(
        PartialUpload.id == upload_id,
        PartialUpload.project_id == caller.project_id,
        PartialUpload.created_at > NOW - PartialUpload.KEPT_FOR,
    )
    upload = session.scalar(query.with_for_update() if is_locked else query)
    if upload is None:
        raise UploadNotFound(upload_id)
    return upload


def put_part(
    sessions: Sessions,
    storage: Storage,
    caller: Caller,
    upload_id: str,
    *,
    number: int,
    chunks: Iterable[bytes],
    sha256: str | None,
) -> Part:
    """Store a part, replacing an earlier one of that number. No transaction is open meanwhile."""
    with transaction(sessions) as session:
        upload = get(session, caller, upload_id)
    if upload.dataset_id is not None:
        raise UploadCompleted(
            f"Upload {upload_id!r} has already become dataset {upload.dataset_id!r}.",
            current="completed",
            allowed=["complete", "delete"],
            dataset=upload.dataset_id,
        )
    others = (part for part in parts.arrived(storage, upload_id) if part.number != number)
    room = upload.num_bytes - sum(part.num_bytes for part in others)
    return parts.put(storage, upload_id, number, chunks, room=room, sha256=sha256)


def complete(
    sessions: Sessions,
    storage: Storage,
    caller: Caller,
    upload_id: str,
    *,
    under_way: UnderWay,
    render: Render,
) -> Answer:
    """Create the dataset, or return the existing one. A refusal leaves the parts in place."""
    with under_way.hold(upload_id):
        upload, known = _look_up(sessions, caller, upload_id, render)
        if known:
            return known
        try:
            stored = _assemble(storage, upload)
        except UploadIncomplete:
            # Another process may have completed it and deleted the parts meanwhile.
            _, known = _look_up(sessions, caller, upload_id, render)
            if known:
                return known
            raise
        try:
            return _register(sessions, storage, caller, upload_id, stored, render)
        except Failure:
            uploads.discard(storage, stored.dataset_id)
            raise


def drop(session: Session, caller: Caller, upload_id: str) -> None:
    """Delete an upload; a dataset it has become stays. Its parts may be swept after the commit."""
    session.delete(get(session, caller, upload_id, is_locked=True))
    session.flush()


def sweep(storage: Storage, upload_id: str) -> None:
    """Delete an upload's parts. Best effort: the housekeeper deletes what stays as garbage."""
    try:
        storage.delete_all(store_keys.upload(upload_id))
    except Exception:
        _log.exception("sweep_failed", upload=upload_id)


def _look_up(
    sessions: Sessions, caller: Caller, upload_id: str, render: Render
) -> tuple[PartialUpload, Answer | None]:
    """Return an upload, and the answer with the dataset it has become, if any."""
    with transaction(sessions) as session:
        upload = get(session, caller, upload_id)
        if upload.dataset_id is None:
            return upload, None
        return upload, Answer(render(datasets.get(session, caller, upload.dataset_id)), True)


def _assemble(storage: Storage, upload: PartialUpload) -> Upload:
    found = parts.arrived(storage, upload.id)
    _check_all_there(upload, found)
    dataset_id = new_id("ds")
    try:
        meter = uploads.store(storage, dataset_id, storage.concatenate(part.key for part in found))
    except FileNotFoundError:
        detail = "A part was replaced while the upload was being assembled; complete it again."
        raise _incomplete(detail, upload, found) from None
    try:
        advice = "Replace the wrong parts, then complete the upload again."
        meter.verify(Promise(upload.num_bytes, upload.sha256), advice)
    except UploadMismatch as error:
        uploads.discard(storage, dataset_id)
        raise UploadMismatch(error.detail, parts=_shown(found)) from None
    return Upload(
        dataset_id, upload.name, upload.format, meter.num_bytes, meter.sha256, upload.columns
    )


def _register(
    sessions: Sessions,
    storage: Storage,
    caller: Caller,
    upload_id: str,
    stored: Upload,
    render: Render,
) -> Answer:
    """Create the dataset, unless another process was first. If the outcome of the commit is
    unknown, the bytes stay.
    """
    with transaction(sessions) as session:
        upload = get(session, caller, upload_id, is_locked=True)
        is_replay = upload.dataset_id is not None
        if upload.dataset_id is None:
            upload.dataset_id = datasets.create(session, caller, stored).id
        made = render(datasets.get(session, caller, upload.dataset_id))
    if is_replay:
        uploads.discard(storage, stored.dataset_id)
    sweep(storage, upload_id)
    return Answer(made, is_replay)


def _check_all_there(upload: PartialUpload, found: Sequence[Part]) -> None:
    numbers = {part.number for part in found}
    gaps = [number for number in range(1, max(numbers, default=0)) if number not in numbers]
    if gaps:
        missing = ", ".join(map(str, gaps[:10])) + (", ..." if len(gaps) > 10 else "")
        detail = f"Parts {missing} are missing; send them, then complete the upload."
        raise _incomplete(detail, upload, found)
    received = sum(part.num_bytes for part in found)
    if received != upload.num_bytes:
        detail = (
            f"{upload.num_bytes:,} bytes were declared, but {received:,} arrived in {len(found)} "
            "parts."
        )
        raise _incomplete(detail, upload, found)


def _incomplete(detail: str, upload: PartialUpload, found: Sequence[Part]) -> UploadIncomplete:
    return UploadIncomplete(
        detail,
        current="receiving",
        allowed=["put parts", "complete", "delete"],
        num_bytes=upload.num_bytes,
        received_bytes=sum(part.num_bytes for part in found),
        parts=_shown(found),
    )


def _shown(found: Sequence[Part]) -> list[Json]:
    return [{k: v for k, v in asdict(part).items() if k != "key"} for part in found]
