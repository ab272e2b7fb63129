"""Waiting for a condition with a deadline; tests never sleep for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def pause(seconds: float) -> bool:
    """Wait as a `ProcessGroup` that is never asked to stop."""
    time.sleep(seconds)
    return False


def wait_until(predicate: Callable[[], T | None], timeout: float = 10, every: float = 0.02) -> T:
    """Return the first truthy result; fail the test if there is none within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"no result within {timeout} s; last: {answer!r}")
        time.sleep(every)
    return answer
