"""A request to stop, from RUN_DIR/stop or SIGTERM."""

import signal
from pathlib import Path
from types import FrameType

from app.core.jobs.protocol import StopReason
from worker.training.failures import Stopped


class StopRequest:
    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / "stop"
        self._signalled = False
        self.in_step = False
        """While true, SIGTERM waits for the end of the step, where a checkpoint can be saved."""
        self.is_finishing = False
        """Once true, only a cancel is obeyed: the adapter is trained, and saving it is quicker than
        resuming from a checkpoint."""

    def reason(self) -> StopReason | None:
        try:
            return StopReason(self._file.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return StopReason.DRAIN if self._signalled else None
        except ValueError:
            return StopReason.DRAIN  # a partly written file: the mildest reason

    def check(self) -> None:
        """Raise `Stopped` if there is a request to obey."""
        reason = self.reason()
        if reason is None or (self.is_finishing and reason is not StopReason.CANCEL):
            return
        raise Stopped(reason)

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        if not self.in_step or self.reason() is StopReason.CANCEL:
            self.check()
