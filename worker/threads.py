"""Threads that inherit the log context (job, epoch) of the thread that starts them."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(target,), name=name, daemon=True)
    thread.start()
    return thread


def in_background(name: str, work: Callable[[], T]) -> Future[T]:
    """Run work that may block for long, such as a download, and that can be abandoned.

    In a daemon thread, not an executor, whose threads are joined at exit.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    start_thread(name, run)
    return future
