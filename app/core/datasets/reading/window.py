"""A sliding window over the text of a file."""

import codecs
import re
from contextlib import suppress
from io import BufferedIOBase

from app.core.datasets.reading.budget import Unreadable
from app.core.datasets.reading.parse import Fault, skip_space
from app.core.datasets.reading.readers import CHUNK, not_utf8


class Window:
    """A part of a file's text, from the read position to some way ahead."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        # Bytes that are not UTF-8 become lone surrogates, so that they spoil their row only.
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._has_bad_bytes = False
        self._offset = file.tell()
        self.text = ""
        self.at = 0
        self.line = 1
        self.is_end = False

    @property
    def size(self) -> int:
        return len(self.text) - self.at

    def more(self) -> bool:
        """Read more text, as much as is ahead if possible; False at the end of the file."""
        if self.is_end:
            return False
        self.drop_passed()
        chunk = self._file.read1(max(CHUNK, self.size))  # also returns what precedes damage
        self.is_end = not chunk
        self.text += self._decode(chunk, final=self.is_end)
        self._has_bad_bytes = not _is_encodable(self.text)
        return True

    def drop_passed(self) -> None:
        passed = self.text[: self.at]
        self._offset += len(passed.encode("utf-8", "surrogateescape"))
        self.text = self.text[self.at :]
        self.at = 0

    def take(self, end: int) -> None:
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def take_through(self, mark: str) -> None:
        while (end := self.text.find(mark, self.at)) < 0:
            self.take(len(self.text))
            if not self.more():
                return
        self.take(end + len(mark))

    def peek(self) -> str:
        """Skip white space and return the next character, or "" at the end."""
        while True:
            self.take(skip_space(self.text, self.at))
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def ahead(self) -> str:
        """Return the next characters, enough to recognize and to show them."""
        with suppress(Unreadable):  # it is raised again where the text is needed
            while self.size < 200 and self.more():
                pass
        return self.text[self.at : self.at + 200]

    def find_bad_byte(self, text: str) -> Fault | None:
        """Find the first byte that is not UTF-8 in a text that begins at the window's position."""
        bad = re.search("[\udc80-\udcff]", text) if self._has_bad_bytes else None
        if not bad:
            return None
        before = self.text[: self.at] + text[: bad.start()]
        offset = self._offset + len(before.encode("utf-8", "surrogateescape"))
        return not_utf8(ord(bad.group()) - 0xDC00, offset)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
