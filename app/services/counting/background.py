"""Work too long for a request: done on a few threads, awaited for a while, never done twice."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from typing import Any, TypeVar

T = TypeVar("T")
__all__ = ["WAIT_SECONDS", "Background", "StillRunning"]
WAIT_SECONDS = 25.0
"""Below the usual timeouts of proxies and clients."""


class Background:
    """A second request for the same key waits for the first one's work."""

    def __init__(self, name: str, at_a_time: int) -> None:
        self._pool = ThreadPoolExecutor(at_a_time, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._running: dict[str, Future[Any]] = {}

    def result(self, key: str, work: Callable[[], T], seconds: float = WAIT_SECONDS) -> T:
        """Raises StillRunning if it takes longer; the work continues."""
        running: Future[T] = self._start(key, work)
        return running.result(seconds)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, key: str, work: Callable[[], T]) -> Future[T]:
        with self._lock:
            running = self._running.get(key)
            if running is None:
                running = self._running[key] = self._pool.submit(work)
                running.add_done_callback(lambda _: self._running.pop(key, None))
            return running
