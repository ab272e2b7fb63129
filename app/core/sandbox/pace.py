"""Kill this process if its rows take far longer than usual: a chat template is a program."""

import json
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

TOO_SLOW = signal.SIGPROF
"""The signal that kills the process."""
_START_SECONDS = 3.0
_ROW_SECONDS = 0.002
_CHARACTERS_PER_SECOND = 300_000
"""A tenth of what was measured: 3.3 million for single answers, 4.6 million for conversations."""


@contextmanager
def paced(rows: Iterable[tuple[int, Any]]) -> Iterator[Iterator[tuple[int, Any]]]:
    """Yield the same rows; each adds to the CPU time that may be spent so far."""
    try:
        yield _timed(rows)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _timed(rows: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    allowed = time.process_time() + _START_SECONDS
    for each in rows:
        allowed += _seconds(each[1])
        signal.setitimer(signal.ITIMER_PROF, max(allowed - time.process_time(), 0.001))
        yield each


def _seconds(row: Any) -> float:
    """Return the time for a row; each answer of a conversation is rendered with all before it."""
    if {
        "messages",
        "tools",
        "reasoning",
    } & row.keys():  # rendered once more, to find what is left out
        turns = len(row.get("messages") or row.get("history", [])) + 2
        return _ROW_SECONDS + len(json.dumps(row)) * turns / _CHARACTERS_PER_SECOND
    history = row.get("history", [])
    size = sum(len(text) for text in row.values() if isinstance(text, str))
    size += sum(len(text) for turn in history for text in turn)
    return _ROW_SECONDS + size * (len(history) + 1) / _CHARACTERS_PER_SECOND
