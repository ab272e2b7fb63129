"""python -m app.core.datasets.overlap OUT < ROWS

Count the rows two datasets share: a validation set whose rows were trained on is worth little.
ROWS is the rows.jsonl of the other dataset, an empty line, and the rows.jsonl of the first.

Rows are equal if their texts are, whichever answers are trained. A digest of 16 bytes is kept per
row and per prompt of the other dataset, and nothing of the first.
"""

import json
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHOWN = 20
_BATCH = 10_000
_BYTES = 16


@dataclass(frozen=True)
class Shared:
    rows: int
    """Rows of the other dataset that are also in the first."""
    share: float
    examples: list[tuple[int, int]]
    """[row of the first dataset, row of the other], 0-based among valid rows; the first 20."""


@dataclass(frozen=True)
class Overlap:
    num_rows: int
    """Rows of the other dataset."""
    exact: Shared
    same_prompt: Shared
    """Rows with the same prompt and any answer, including the exact ones. A `text` row has no
    prompt."""


class _Digests(NamedTuple):
    exact: bytes
    prompt: bytes | None


def count(first: Iterable[bytes], other: Iterable[bytes]) -> Overlap:
    """Count the rows of `other` that are also in `first`; both are lines of canonical rows."""
    exact, prompt = _Index(), _Index()
    num_rows = 0
    for row, digests in enumerate(map(_digest, other)):
        exact.add(row, digests.exact)
        prompt.add(row, digests.prompt)
        num_rows = row + 1
    for found in (exact, prompt):
        found.close()
    for start, batch in _batches(map(_digest, first)):
        exact.look_up(start, [each.exact for each in batch])
        prompt.look_up(start, [each.prompt for each in batch])
    return Overlap(num_rows, exact.shared(num_rows), prompt.shared(num_rows))


def _digest(line: bytes) -> _Digests:
    row = json.loads(line)
    if "messages" in row:
        return _digest_messages(row)
    # No text contains a NUL, so the joined string is unambiguous.
    parts = [row.get("system", ""), row.get("instruction", ""), row.get("input", "")]
    parts += [text for turn in row.get("history", ()) for text in turn]
    parts += [json.dumps(row["tools"], sort_keys=True)] if "tools" in row else []
    hashed = blake2b("\0".join(parts).encode(), digest_size=_BYTES)
    prompt = hashed.digest() if "instruction" in row else None
    hashed.update(f"\0{row.get('output', '')}\0{row.get('text', '')}".encode())
    hashed.update("\0".join(row.get("reasoning", ())).encode())
    return _Digests(hashed.digest(), prompt)


def _digest_messages(row: Any) -> _Digests:
    messages = [{**each, "weight": 1} for each in row["messages"]]
    prompt = json.dumps([row.get("tools"), messages[:-1]], sort_keys=True)
    hashed = blake2b(prompt.encode(), digest_size=_BYTES)
    before = hashed.digest()
    hashed.update(json.dumps(messages[-1], sort_keys=True).encode())
    return _Digests(hashed.digest(), before)


def _batches(digests: Iterator[_Digests]) -> Iterator[tuple[int, list[_Digests]]]:
    start = 0
    while batch := list(islice(digests, _BATCH)):
        yield start, batch
        start += len(batch)


@dataclass
class _Index:
    """Digests of the other dataset's rows, and the first row of the first dataset with each."""

    _bytes: bytearray = field(default_factory=bytearray)
    _rows: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, row: int, digest: bytes | None) -> None:
        if digest is not None:
            self._bytes += digest
            self._rows.append(row)

    def close(self) -> None:
        """Sort the digests; call it after the last `add`."""
        words = _words(self._bytes)
        # Sorted by the first half only; comparing the second half rules out chance matches.
        ordered = words[np.argsort(words[:, 0], kind="stable")]
        self._high, self._low = ordered[:, 0].copy(), ordered[:, 1].copy()
        self._slots = np.searchsorted(self._high, words[:, 0])
        self._met = np.full(len(words), -1, dtype=np.int64)

    def look_up(self, start: int, digests: list[bytes | None]) -> None:
        known = [(start + at, each) for at, each in enumerate(digests) if each is not None]
        if not known or not len(self._met):
            return
        words = _words(b"".join(each for _, each in known))
        rows = np.array([row for row, _ in known], dtype=np.int64)
        slots = np.minimum(np.searchsorted(self._high, words[:, 0]), len(self._met) - 1)
        is_hit = (self._high[slots] == words[:, 0]) & (self._low[slots] == words[:, 1])
        is_hit &= self._met[slots] < 0
        # Reversed: if a slot occurs several times, the last write wins, which is the first row.
        self._met[slots[is_hit][::-1]] = rows[is_hit][::-1]

    def shared(self, num_rows: int) -> Shared:
        met = self._met[self._slots]
        rows: NDArray[np.int64] = np.array(self._rows, dtype=np.int64)[met >= 0]
        pairs: Any = zip(met[met >= 0][:SHOWN].tolist(), rows[:SHOWN].tolist(), strict=True)
        share = round(len(rows) / num_rows, 6) if num_rows else 0.0
        return Shared(len(rows), share, list(pairs))


def _words(digests: bytes | bytearray) -> NDArray[np.uint64]:
    """Return the digests as integers of shape [rows, 2]."""
    return np.frombuffer(bytes(digests), dtype=np.uint64).reshape(-1, 2)


def main(arguments: list[str]) -> int:
    lines = sys.stdin.buffer
    other = takewhile(lambda line: line != b"\n", lines)
    found = count((line for line in lines if line != b"\n"), other)
    Path(arguments[0]).write_text(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
