"""Copies a trainer's output to its log: long lines cut, total size capped, secrets redacted.

The pipe is always read to its end, so that a trainer never blocks on its own output.
"""

import os
import re
from pathlib import Path

from app.core.redact import redact

MAX_LINE_BYTES = 16 << 10
CUT = b" [line cut]"
_READ_BYTES = 1 << 16
_LAST_BYTES = 1500
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class TrainerLog:
    def __init__(self, descriptor: int, path: Path, max_bytes: int) -> None:
        self._descriptor = descriptor
        self._file = path.open("ab")
        self._room = max_bytes
        self._dropped = 0
        self._line = bytearray()
        self._is_cut = False

    def copy(self) -> None:
        """Copy until every writer has closed the pipe."""
        with self._file, os.fdopen(self._descriptor, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_READ_BYTES):
                if self._room > 0:
                    self._keep(chunk)
                else:
                    self._dropped += len(chunk)
            self._keep(b"\n" if self._line else b"")
            if self._dropped:
                note = f"[log full: {self._dropped} more bytes were dropped]\n"
                self._file.write(note.encode())

    def _keep(self, chunk: bytes) -> None:
        # The carriage returns of a progress bar are line ends too.
        *ended, rest = chunk.replace(b"\r", b"\n").split(b"\n")
        lines = bytearray()
        for part in ended:
            self._extend(part)
            lines += self._line + b"\n"
            self._line.clear()
            self._is_cut = False
        self._extend(rest)
        if lines:
            self._write(bytes(lines))

    def _extend(self, part: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._line)
        if self._is_cut:
            return
        self._line += part[:room]
        if len(part) > room:
            self._line += CUT
            self._is_cut = True

    def _write(self, lines: bytes) -> None:
        text = redact(_ESCAPES.sub("", lines.decode("utf-8", "replace")))
        clean = text.encode()
        # Do not cut inside a character.
        kept = clean[: self._room].decode("utf-8", "ignore").encode()
        self._file.write(kept)
        self._file.flush()
        self._dropped += len(clean) - len(kept)
        self._room = self._room - len(clean) if len(kept) == len(clean) else 0


def last_words(log: Path) -> str:
    """The last lines of a trainer's log; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LAST_BYTES))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
