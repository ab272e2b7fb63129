"""A job's trainer logs, attempt by attempt: all of them, or only the last lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core import store_keys
from app.core.db.models import Attempt
from app.core.settings import Settings
from app.core.storage import CHUNK_BYTES, Storage

BLOCK_BYTES = 64 << 10
MAX_TAIL_BYTES = 8 << 20
"""Read from one log at most, however many lines are requested."""


@dataclass(frozen=True)
class Source:
    """One attempt's trainer log: the file its worker is writing, or the stored copy."""

    attempt: int
    epoch: int
    path: Path
    key: str

    @property
    def header(self) -> bytes:
        return f"==> attempt {self.attempt} <==\n".encode()


@dataclass(frozen=True)
class Part:
    attempt: int
    lines: list[str]


def sources(attempts: Sequence[Attempt], settings: Settings) -> list[Source]:
    """Return the attempts' logs, oldest first."""
    return [
        Source(
            attempt.attempt,
            attempt.epoch,
            settings.runs_dir / attempt.job_id / str(attempt.epoch) / "trainer.log",
            store_keys.log(attempt.job_id, attempt.epoch),
        )
        for attempt in attempts
    ]


def whole(storage: Storage, found: Sequence[Source]) -> Iterator[bytes]:
    """Yield every attempt under a header line, in chunks."""
    for source in found:
        yield source.header
        last = b"\n"
        for chunk in _read(storage, source, 0, _size(storage, source)):
            yield chunk
            last = chunk
        if not last.endswith(b"\n"):
            yield b"\n"


def tail(storage: Storage, found: Sequence[Source], num_lines: int) -> list[Part]:
    """Return the last lines over all attempts, oldest attempt first."""
    parts: list[Part] = []
    for source in reversed(found):
        lines = _last_lines(storage, source, num_lines)
        parts.append(Part(source.attempt, lines))
        num_lines -= len(lines)
        if num_lines <= 0:
            break
    return parts[::-1]


def as_text(parts: Sequence[Part]) -> Iterator[bytes]:
    for part in parts:
        yield f"==> attempt {part.attempt} <==\n".encode()
        yield "".join(f"{line}\n" for line in part.lines).encode()


def _last_lines(storage: Storage, source: Source, num_lines: int) -> list[str]:
    """Read backwards, block by block, until there are enough newlines."""
    end = _size(storage, source)
    start, held = end, b""
    while start > 0 and held.count(b"\n") <= num_lines and len(held) < MAX_TAIL_BYTES:
        before = max(start - BLOCK_BYTES, 0)
        held = b"".join(_read(storage, source, before, start)) + held
        start = before
    lines = held.decode("utf-8", "replace").removesuffix("\n").split("\n") if held else []
    if start > 0 and len(lines) <= num_lines:
        lines = lines[1:]  # its beginning was not read
    return lines[-num_lines:]


def _size(storage: Storage, source: Source) -> int:
    try:
        return source.path.stat().st_size
    except OSError:
        pass
    try:
        return storage.size(source.key)
    except FileNotFoundError:
        return 0


def _read(storage: Storage, source: Source, start: int, end: int) -> Iterator[bytes]:
    """Yield bytes start..end; fewer if the file was moved away meanwhile."""
    try:
        file = source.path.open("rb")
    except OSError:
        yield from _stored(storage, source, start, end)
        return
    with file:
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK_BYTES, end - start))):
            start += len(chunk)
            yield chunk


def _stored(storage: Storage, source: Source, start: int, end: int) -> Iterator[bytes]:
    try:
        end = min(end, storage.size(source.key))
    except FileNotFoundError:
        return
    yield from storage.read(source.key, start, end)
