"""Repeats an action while other work is under way."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from app.core.db.session import OUTAGE

_log = structlog.get_logger(__name__)


@contextmanager
def repeated(action: Callable[[], None], seconds: float) -> Iterator[None]:
    """Run `action` every `seconds` in a background thread until the block ends; survive outages."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(seconds):
            try:
                action()
            except OUTAGE:
                _log.warning("not_written", action=action.__name__)

    thread = threading.Thread(target=repeat, name="repeated", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
