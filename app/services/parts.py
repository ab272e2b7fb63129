"""Parts of an upload as objects in the store: the newest complete try of each part counts.

uploads/<upload>/<number>/<try>                        its bytes
uploads/<upload>/<number>/<try>.<num_bytes>.<sha256>   empty; marks the bytes as complete

So one listing shows what has arrived, and a part is replaced in one step.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.core import store_keys
from app.core.errors import TooLarge
from app.core.ids import new_id
from app.core.storage import Storage
from app.services.uploads import Meter, Promise

MAX_BYTES = 512 << 20
MAX_NUMBER = 10_000
SUGGESTED_BYTES = 64 << 20


@dataclass(frozen=True)
class Part:
    number: int
    num_bytes: int
    sha256: str
    key: str


def suggested_bytes(num_bytes: int) -> int:
    """Return the suggested size of each part, large enough not to exceed MAX_NUMBER."""
    return max(SUGGESTED_BYTES, -(-num_bytes // MAX_NUMBER))


def arrived(storage: Storage, upload_id: str) -> list[Part]:
    """Return the complete parts, by number."""
    whole = [key for key in storage.keys(store_keys.upload(upload_id)) if key.count(".") == 2]
    # Ids of tries sort by time: the newest comes last and wins.
    newest = {part.number: part for part in map(_read, sorted(whole))}
    return [newest[number] for number in sorted(newest)]


def put(
    storage: Storage,
    upload_id: str,
    number: int,
    chunks: Iterable[bytes],
    *,
    room: int,
    sha256: str | None,
) -> Part:
    """Store a part, or nothing if `chunks` raises, is too long or does not match `sha256`."""
    key, meter = store_keys.upload_part(upload_id, number, new_id("part")), Meter()
    storage.write(key, _limited(meter.through(chunks), min(room, MAX_BYTES)))
    try:
        meter.verify(Promise(sha256=sha256))
        storage.write(f"{key}.{meter.num_bytes}.{meter.sha256}", [b""])
    except Exception:
        storage.delete([key])
        raise
    _delete_older(storage, key)
    return Part(number, meter.num_bytes, meter.sha256, key)


def _limited(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > limit:
            detail = (
                f"This part may have at most {limit:,} bytes: a part is limited to {MAX_BYTES:,}, "
                "all parts together to the upload's `num_bytes`."
            )
            raise TooLarge(detail, limit=limit, headers={"Connection": "close"})
        yield chunk


def _delete_older(storage: Storage, key: str) -> None:
    """Delete earlier tries, never later ones: those may be about to complete."""
    folder = key.rpartition("/")[0] + "/"
    storage.delete([other for other in storage.keys(folder) if other < key])


def _read(key: str) -> Part:
    path, num_bytes, sha256 = key.rsplit(".", 2)
    return Part(store_keys.part_number(path), int(num_bytes), sha256, path)
