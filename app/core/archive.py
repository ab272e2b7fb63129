"""The adapter as one zip, determined by its files alone: uncompressed, one timestamp, fixed order.

Nothing is compressed (weights do not shrink), so the size is known before a byte is read, and the
same files always give the same SHA-256. Past 4 GiB every header uses its zip64 form.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

Read = Callable[[str], Iterator[bytes]]
"""Returns a file's chunks by path. Called twice per file: its header contains the checksum."""

_UTF8_NAMES = 0x0800
_NEW_YEAR_1980 = 0x0021
_UNIX_FILE_0644 = 0o100644 << 16
_MAX_32 = 0xFFFFFFFF


class File(TypedDict):
    path: str
    """Relative, with forward slashes: the name inside the archive."""
    bytes: int
    sha256: str
    kind: str


@dataclass(frozen=True)
class _Entry:
    name: bytes
    size: int
    crc: int
    offset: int

    def local(self, is_wide: bool) -> bytes:
        sizes = struct.pack("<HHQQ", 1, 16, self.size, self.size) if is_wide else b""
        return struct.pack("<I", 0x04034B50) + self._common(is_wide, sizes) + self.name + sizes

    def central(self, is_wide: bool) -> bytes:
        sizes = struct.pack("<HHQQQ", 1, 24, self.size, self.size, self.offset) if is_wide else b""
        made_by = 3 << 8 | 45
        where = _MAX_32 if is_wide else self.offset
        tail = struct.pack("<HHHII", 0, 0, 0, _UNIX_FILE_0644, where)
        head = struct.pack("<IH", 0x02014B50, made_by) + self._common(is_wide, sizes)
        return head + tail + self.name + sizes

    def _common(self, is_wide: bool, extra: bytes) -> bytes:
        version = 45 if is_wide else 20
        size = _MAX_32 if is_wide else self.size
        fixed = (version, _UTF8_NAMES, 0, 0, _NEW_YEAR_1980, self.crc, size, size)
        return struct.pack("<HHHHHIIIHH", *fixed, len(self.name), len(extra))


def zip_size(files: Sequence[File]) -> int:
    """Return the exact size of the archive in bytes."""
    return _size(files, is_wide=_needs_zip64(files))


def zip_chunks(files: Sequence[File], read: Read) -> Iterator[bytes]:
    """Yield the archive in chunks. Raises ValueError if a file's length is not as declared."""
    return _chunks(files, read, is_wide=_needs_zip64(files))


def _chunks(files: Sequence[File], read: Read, *, is_wide: bool) -> Iterator[bytes]:
    entries: list[_Entry] = []
    offset = 0
    for file in files:
        entry = _Entry(file["path"].encode(), file["bytes"], _checksum(file, read), offset)
        entries.append(entry)
        header = entry.local(is_wide)
        yield header
        yield from read(file["path"])
        offset += len(header) + entry.size
    directory = b"".join(entry.central(is_wide) for entry in entries)
    yield directory + _end(len(entries), len(directory), offset, is_wide)


def _checksum(file: File, read: Read) -> int:
    crc = length = 0
    for chunk in read(file["path"]):
        crc = zlib.crc32(chunk, crc)
        length += len(chunk)
    if length != file["bytes"]:
        raise ValueError(f"{file['path']} has {length} bytes, not {file['bytes']}")
    return crc


def _end(count: int, size: int, offset: int, is_wide: bool) -> bytes:
    if not is_wide:
        return struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, size, offset, 0)
    zip64: tuple[Any, ...] = (0x06064B50, 44, 3 << 8 | 45, 45, 0, 0, count, count, size, offset)
    return (
        struct.pack("<IQHHIIQQQQ", *zip64)
        + struct.pack("<IIQI", 0x07064B50, 0, offset + size, 1)
        + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, _MAX_32, _MAX_32, 0)
    )


def _size(files: Sequence[File], *, is_wide: bool) -> int:
    headers = (30 + 20 + 46 + 28) if is_wide else (30 + 46)
    end = (56 + 20 + 22) if is_wide else 22
    return end + sum(headers + 2 * len(file["path"].encode()) + file["bytes"] for file in files)


def _needs_zip64(files: Sequence[File]) -> bool:
    return len(files) >= 0xFFFF or _size(files, is_wide=False) >= _MAX_32
