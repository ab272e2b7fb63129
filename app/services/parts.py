"""Parts of an upload as objects in the store: a part is what the newest try at it brought.

uploads/<upload>/<number>/<try>                        its bytes
uploads/<upload>/<number>/<try>.<num_bytes>.<sha256>   empty; says that they are whole

So one listing tells what arrived, and a part is replaced in one step.
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
    """Of each part; so many that the last number is not passed."""
    return max(SUGGESTED_BYTES, -(-num_bytes // MAX_NUMBER))


def arrived(storage: Storage, upload_id: str) -> list[Part]:
    """By number."""
    whole = [key for key in storage.keys(store_keys.upload(upload_id)) if key.count(".") == 2]
    # Ids of tries sort by time: the newest comes last and stays.
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
    """All of it or, when `chunks` raises or brings too much or something else, nothing."""
    key, meter = store_keys.upload_part(upload_id, number, new_id("part")), Meter()
    storage.write(key, _limited(meter.through(chunks), min(room, MAX_BYTES)))
    try:
        meter.verify(Promise(sha256=sha256))
        storage.write(f"{key}.{meter.num_bytes}.{meter.sha256}", [b""])
    except Exception:
        storage.delete([key])
        raise
    _forget_older(storage, key)
    return Part(number, meter.num_bytes, meter.sha256, key)


def _limited(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > limit:
            detail = (
                f"This part may have {limit:,} bytes: a part at most {MAX_BYTES:,}, all together "
                "no more than the upload's `num_bytes`."
            )
            raise TooLarge(detail, limit=limit, headers={"Connection": "close"})
        yield chunk


def _forget_older(storage: Storage, key: str) -> None:
    """Never one that began later: it may be about to say that it is whole."""
    folder = key.rpartition("/")[0] + "/"
    storage.delete([other for other in storage.keys(folder) if other < key])


def _read(key: str) -> Part:
    path, num_bytes, sha256 = key.rsplit(".", 2)
    return Part(store_keys.part_number(path), int(num_bytes), sha256, path)
