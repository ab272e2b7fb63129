"""Stop signals: SIGTERM or Ctrl-C is recorded and handled between two steps, never within one."""

import contextlib
import os
import select
import signal
from types import FrameType
from typing import Self


class StopSignal:
    """Handles SIGINT, SIGTERM and SIGHUP: the first ends `wait`, a second interrupts immediately.

    If the interrupt ends this process, the kernel kills its children (`tether`).
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that a child's death ends `wait`
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def wait(self, seconds: float) -> bool:
        """Sleep until a signal arrives or a child dies. Returns True once a stop is requested."""
        if not self.is_requested:
            select.select([self._read], [], [], seconds)
            with contextlib.suppress(BlockingIOError):
                os.read(self._read, 4096)
        return self.is_requested

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_requested:
            raise KeyboardInterrupt
        self.is_requested = True
