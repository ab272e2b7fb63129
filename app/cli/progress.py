"""Shows the progress of a job: a status line below the events on a terminal, plain lines elsewhere.

The cursor rests at the start of the status line. After a resize it is still there, even where the
terminal has wrapped the line. What is drawn anew erases the rest of the screen behind itself, so
that no fragments stay.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from rich.console import Console

from app.cli.table import span

PLAIN_SECONDS = 3.0
"""Minimum time between two progress lines without a terminal."""
MAX_BAR = 30
_PRINTED = ("status", "warning", "error", "checkpoint", "eval")
_ERASE, _HIDE_CURSOR, _SHOW_CURSOR = "\x1b[J", "\x1b[?25l", "\x1b[?25h"


@dataclass
class Snapshot:
    """Latest known state of a job."""

    status: str = "queued"
    phase: str = ""
    step: int = 0
    max_steps: int = 0
    loss: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None

    @property
    def waits(self) -> bool:
        return self.status in ("validating", "queued")

    def update(self, event: dict[str, Any]) -> None:
        """Update from one event; unknown fields are ignored."""
        data = event.get("data") or {}
        values = data.get("values") or {}
        self.loss = values.get("train_loss", self.loss)
        if event["type"] in ("status", "phase", "progress"):
            for name in ("status", "phase", "step", "max_steps", "tokens_per_second"):
                setattr(self, name, data.get(name) or getattr(self, name))
            self.eta_seconds = data.get("eta_seconds", self.eta_seconds)

    def __str__(self) -> str:
        parts = [
            f"step {self.step}/{self.max_steps}" if self.max_steps else "",
            f"loss {self.loss:.4f}" if self.loss is not None else "",
            f"{self.tokens_per_second:,.0f} tokens/s" if self.tokens_per_second else "",
            f"ETA {duration(self.eta_seconds)}" if self.eta_seconds is not None else "",
        ]
        return "  ".join(part for part in parts if part)


class View(Protocol):
    def show(self, event: dict[str, Any], now: Snapshot) -> None: ...

    def wait(self, standing: dict[str, Any]) -> None:
        """Show the place of a waiting job in the queue."""


class LiveView:
    """Events, and below them one status line that is drawn anew."""

    def __init__(self, console: Console) -> None:
        self._file = console.file
        self._lock = threading.Lock()

    def show(self, event: dict[str, Any], now: Snapshot) -> None:
        text = f"{line(event)}{_ERASE}\n" if event["type"] in _PRINTED else ""
        self._draw(text, status_line(now, shutil.get_terminal_size().columns))

    def wait(self, standing: dict[str, Any]) -> None:
        self._draw("", f"queued  {place(standing)}")

    def close(self) -> None:
        self._draw("", "")
        self._file.write(_SHOW_CURSOR)
        self._file.flush()

    def _draw(self, above: str, status: str) -> None:
        shown = status[: shutil.get_terminal_size().columns - 1]
        with self._lock:
            self._file.write(f"{_HIDE_CURSOR}{above}{shown or ' '}{_ERASE}\r")
            self._file.flush()


class PlainView:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed_at = 0.0
        self._waited_for: tuple[Any, Any] | None = None

    def show(self, event: dict[str, Any], now: Snapshot) -> None:
        if event["type"] in (*_PRINTED, "phase"):
            self._print(line(event))
        elif event["type"] == "progress" and time.monotonic() - self._printed_at > PLAIN_SECONDS:
            self._printed_at = time.monotonic()
            self._print(f"  {now}")

    def wait(self, standing: dict[str, Any]) -> None:
        now = (standing["position"], standing["reason"])
        if now != self._waited_for:
            self._waited_for = now
            self._print(f"  queued: {place(standing)}")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def view(console: Console) -> Iterator[View]:
    if not console.is_terminal:
        yield PlainView(console)
        return
    live = LiveView(console)
    try:
        yield live
    finally:
        live.close()


def status_line(now: Snapshot, columns: int) -> str:
    label = now.phase if now.status == "running" and now.phase else now.status
    figures = str(now)
    room = min(columns - len(label) - len(figures) - 7, MAX_BAR)
    if not now.max_steps or room < 4:
        return f"{label}  {figures}"
    done = round(room * now.step / now.max_steps)
    return f"{label}  [{'=' * done}{'.' * (room - done)}]  {figures}"


def place(standing: dict[str, Any]) -> str:
    """Say where a job is in the queue, when it may start, and why it waits."""
    position, start = standing["position"], standing["estimated_start"]
    parts = [f"position {position}" if position else ""]
    if start:
        left = (datetime.fromisoformat(start) - datetime.now().astimezone()).total_seconds()
        parts.append(f"starts in about {span(left)}" if left >= 1 else "starts soon")
    known = ", ".join(part for part in parts if part)
    return f"{known}: {standing['reason']}" if known else str(standing["reason"])


def line(event: dict[str, Any]) -> str:
    """Format an event as one line: local time, type, and message or values."""
    data = event.get("data") or {}
    text = event.get("message") or "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in {**data, **(data.get("values") or {})}.items()
        if isinstance(value, int | float | str)
    )
    at = event.get("at")
    clock = datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S") if at else ""
    return f"{clock}  {event['type']:<10}  {text}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
