"""A gzip file as a stream of its content, which ends with an error if there is too much."""

import io
import zlib
from typing import BinaryIO

from app.core.datasets.reading.budget import Budget, Unreadable
from app.core.datasets.reading.parse import Fault

MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 16
_MEMBERS = 1_000
_BYTES_PER_MEMBER = 512
"""One more member is allowed for this many bytes of the file: blocked gzip puts 64 KB in each."""


class Unpacked(io.RawIOBase):
    """Raises Unreadable where it cannot continue, after returning everything before that."""

    def __init__(self, packed: BinaryIO, size: int, budget: Budget) -> None:
        self._packed = packed
        self._most_members = _MEMBERS + size // _BYTES_PER_MEMBER
        self._budget = budget
        self._farthest = 0
        self._begin()

    def _begin(self) -> None:
        self._packed.seek(0)
        self._at = 0
        self._num_members = 1
        self._member = zlib.decompressobj(wbits=31)
        self._rest = b""
        self._fault: Fault | None = None
        self._is_end = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Seek; going back starts over from the beginning, so it is meant for the first bytes."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        if offset < self._at:
            self._begin()
        while self._at < offset and self.read(min(offset - self._at, _CHUNK)):
            pass
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        made = 0
        while made < len(buffer) and not self._is_end and not self._fault:
            piece = self._some(len(buffer) - made)
            buffer[made : made + len(piece)] = piece
            made += len(piece)
        self._at += made
        if not made and self._fault:
            raise Unreadable(self._fault)
        self._spend()
        return made

    def _spend(self) -> None:
        if self._at > self._farthest:
            new, self._farthest = self._at - self._farthest, self._at
            self._budget.spend(new)

    def _some(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end, at a fault and between members."""
        if self._member.eof:
            return self._next_member()
        self._rest = self._rest or self._packed.read(_CHUNK)
        try:
            piece = self._member.decompress(self._rest, size)
        except zlib.error as error:
            self._fail(f"It is damaged: {error}.")
            return b""
        is_over = not self._rest
        self._rest = self._member.unconsumed_tail
        if is_over and not piece and not self._member.eof:
            self._fail("It was cut off.")
        return piece

    def _next_member(self) -> bytes:
        """Start the next member, if there is one; zeros that pad a block are skipped."""
        self._rest = self._member.unused_data or self._packed.read(_CHUNK)
        while self._rest and not self._rest.strip(b"\0"):
            self._rest = self._packed.read(_CHUNK)
        if not self._rest:
            self._is_end = True
            return b""
        self._num_members += 1
        if self._num_members > self._most_members:
            self._fail("It has far too many members.")
        self._member = zlib.decompressobj(wbits=31)
        return b""

    def _fail(self, message: str) -> None:
        self._fault = Fault("gzip_invalid", f"The gzip cannot be read any further. {message}")
