"""Retries through a database outage."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from app.core.db.session import OUTAGE

T = TypeVar("T")
_PAUSE_SECONDS = 1.0
_log = structlog.get_logger(__name__)


def patiently(work: Callable[[], T], *, seconds: float) -> T:
    """Return the result of `work`, retried through an outage of up to `seconds`.

    A commit whose response was lost is retried too: fenced writes then raise LeaseLost.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return work()
        except OUTAGE as error:
            if time.monotonic() >= until:
                raise
            _log.warning("database_unavailable", error=type(error).__name__)
            time.sleep(_PAUSE_SECONDS)
