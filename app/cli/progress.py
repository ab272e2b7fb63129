"""Shows the progress of a job: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

PLAIN_SECONDS = 3.0
"""Minimum time between two progress lines without a terminal."""
_PRINTED = ("status", "warning", "error", "checkpoint", "eval")


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


class BarView:
    """One bar at the bottom, events above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar = progress.add_task("queued", total=None, figures="")

    def show(self, event: dict[str, Any], now: Snapshot) -> None:
        if event["type"] in _PRINTED:
            self._progress.console.print(line(event), highlight=False, markup=False)
        label = now.phase if now.status == "running" and now.phase else now.status
        self._progress.update(
            self._bar,
            description=label,
            completed=now.step,
            total=now.max_steps or None,
            figures=str(now),
        )


class PlainView:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed_at = 0.0

    def show(self, event: dict[str, Any], now: Snapshot) -> None:
        if event["type"] in (*_PRINTED, "phase"):
            self._print(line(event))
        elif event["type"] == "progress" and time.monotonic() - self._printed_at > PLAIN_SECONDS:
            self._printed_at = time.monotonic()
            self._print(f"  {now}")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def view(console: Console) -> Iterator[View]:
    if not console.is_terminal:
        yield PlainView(console)
        return
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=5) as progress:
        yield BarView(progress)


def line(event: dict[str, Any]) -> str:
    """Format an event as one line: time, type, and message or values."""
    data = event.get("data") or {}
    text = event.get("message") or "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in {**data, **(data.get("values") or {})}.items()
        if isinstance(value, int | float | str)
    )
    return f"{(event.get('at') or '')[11:19]}  {event['type']:<10}  {text}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
