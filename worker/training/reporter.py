"""Writes the trainer's report lines to its supervisor, with heartbeats in between."""

import json
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal

from app.core.jobs.failures import FailureReport
from app.core.jobs.protocol import MAX_REPORT_BYTES, REPORT_FD_VARIABLE, ExitCode, ReportType

HEARTBEAT_SECONDS = 5.0
PROGRESS_SECONDS = 1.0
"""At most one progress line per interval; the last one is always sent."""
SIGN_SECONDS = 10.0
"""Between two lines that only show that long work is advancing. The supervisor stops a trainer that
has sent nothing but heartbeats for `stall_seconds`."""

Level = Literal["info", "warning", "error"]


class Reporter:
    """Writes report lines; safe to use from any thread."""

    def __init__(self, stream: BinaryIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._last_progress = -math.inf
        self._last_sign = clock()
        self.position: dict[str, Any] = {"step": 0}
        """The latest progress."""

    def send(
        self, kind: ReportType, message: str = "", level: Level = "info", /, **data: Any
    ) -> None:
        line = fitted({"type": kind, "message": message, "level": level, "data": plain(data)})
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except BrokenPipeError:
                # The supervisor and its lease are gone: nobody can use what this process does.
                os._exit(ExitCode.INFRA)

    def phase(self, phase: str) -> None:
        self.send("phase", f"Now {phase}.", phase=phase)

    def warn(self, code: str, message: str, *, hint: str = "", pointer: str = "") -> None:
        self.send("warning", message, "warning", code=code, hint=hint, pointer=pointer)

    def fail(self, failure: FailureReport) -> None:
        self.send("error", failure.message, "error", **failure.model_dump(by_alias=True))

    def progress(self, *, last: bool = False, **data: Any) -> None:
        self.position = data
        if last or self._clock() - self._last_progress >= PROGRESS_SECONDS:
            self._send_position()

    def still_working(self) -> None:
        """Send a sign of progress, now and then, when one more part of long work is done."""
        if self._clock() - self._last_sign >= SIGN_SECONDS:
            self._send_position()

    def _send_position(self) -> None:
        self._last_progress = self._last_sign = self._clock()
        self.send("progress", **self.position)

    def beat(self, stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            self.send("heartbeat")


def open_reporter(run_dir: Path) -> Reporter:
    """Report to the descriptor that the supervisor passed, else to RUN_DIR/reports.jsonl."""
    descriptor = os.environ.get(REPORT_FD_VARIABLE)
    if descriptor is None:
        return Reporter((run_dir / "reports.jsonl").open("ab"))
    os.set_inheritable(int(descriptor), False)
    return Reporter(os.fdopen(int(descriptor), "wb"))


def start_heartbeat(reports: Reporter) -> threading.Event:
    """Send heartbeats until the returned event is set."""
    stop = threading.Event()
    threading.Thread(target=reports.beat, args=(stop,), name="heartbeat", daemon=True).start()
    return stop


def plain(value: Any) -> Any:
    """Replace NaN and infinities, which JSON cannot represent, with None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def fitted(report: dict[str, Any]) -> bytes:
    """One line of at most MAX_REPORT_BYTES: long strings are cut shorter until it fits."""
    line = _line(report)
    for limit in (4000, 2000, 1000, 300, 50):
        if len(line) <= MAX_REPORT_BYTES:
            return line
        line = _line(_cut(report, limit))
    return line if len(line) <= MAX_REPORT_BYTES else _line({**report, "message": "", "data": {}})


def _line(report: dict[str, Any]) -> bytes:
    return (
        json.dumps(report, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
    )


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= limit else value[:limit] + "..."
    if isinstance(value, dict):
        return {key: _cut(each, limit) for key, each in value.items()}
    if isinstance(value, list):
        return [_cut(each, limit) for each in value]
    return value
