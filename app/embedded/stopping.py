"""Being asked to stop: SIGTERM or Ctrl-C is noted and acted on between two steps, never inside."""

import contextlib
import os
import select
import signal
from types import FrameType
from typing import Self


class StopSignal:
    """Within it, the first SIGINT, SIGTERM or SIGHUP ends `wait`; a second one interrupts at once.

    Interrupted means gone: the kernel then ends our children (`tether`).
    """

    def __init__(self) -> None:
        self.asked = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that a death ends `wait`
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait(self, seconds: float) -> bool:
        """Sleep, less when a signal or a child's death comes. True when asked to stop."""
        if not self.asked:
            select.select([self._read], [], [], seconds)
            with contextlib.suppress(BlockingIOError):
                os.read(self._read, 4096)
        return self.asked

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
