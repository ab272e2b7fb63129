"""Waiting for a condition, with a deadline; tests never sleep for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 10, every: float = 0.02) -> T:
    """The first true answer. Fails the test when none came within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s; last answer: {answer!r}")
        time.sleep(every)
    return answer
