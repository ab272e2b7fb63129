"""Follows jobs: one loop per process polls for new events, and any number of listeners wait on it.

The loop queries all followed jobs in one short transaction, once a second (the truth) or when a
notification arrives (a hint), and keeps the newest events of each. A listener that is further
behind reads the rest itself. So a thousand listeners cost one query a second, and a slow one
delays no other.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import anyio
import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.api.streams.sse import COMMENT, Frame, comment_after, end_frame, event_frame, retry_frame
from app.core.db.session import Sessions, transaction
from app.core.events import log
from app.services import history
from app.services.history import State

POLL_SECONDS = 1.0
COALESCE_SECONDS = 0.02
"""Pause between two polls, so that a burst of notifications costs one query."""
KEPT_EVENTS = 500
GONE = "deleted"
_log = structlog.get_logger(__name__)


@dataclass
class Tail:
    """State of a followed job, as this process knows it."""

    listeners: int = 0
    last_seq: int = 0
    status: str | None = None
    """None until the first poll."""
    is_final: bool = False
    recent: deque[Frame] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))
    """The newest events without a gap, up to `last_seq`; empty if there were too many to keep."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def after(self, seq: int) -> list[Frame] | None:
        """Return the events after `seq`, or None if some of them are not in `recent`."""
        if seq >= self.last_seq:
            return []
        if not self.recent or self.recent[0].seq > seq + 1:
            return None
        return [frame for frame in self.recent if frame.seq > seq]

    def update(self, state: State | None, frames: list[Frame]) -> None:
        """Apply the result of a poll. State None: the job has been deleted."""
        before = (self.last_seq, self.status)
        if state is None:
            self.last_seq, self.status, self.is_final = 0, GONE, True
        else:
            self._extend(state.last_seq, frames)
            self.status, self.is_final = state.status, state.is_final
        if before != (self.last_seq, self.status):
            self.wake_listeners()

    def wake_listeners(self) -> None:
        current, self.news = self.news, asyncio.Event()
        current.set()

    def _extend(self, last_seq: int, frames: list[Frame]) -> None:
        newest = max(last_seq, frames[-1].seq if frames else 0)
        if newest > self.last_seq and not frames:
            self.recent.clear()
        self.recent.extend(frames)
        self.last_seq = newest


class Follower:
    """The polling loop, and the listeners that wait on it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._tails: dict[str, Tail] = {}
        self._wake = asyncio.Event()
        # Separate from the threads of requests: a thousand reconnecting streams take none of them.
        self._threads = anyio.CapacityLimiter(4)
        self._is_closing = False

    def notify(self, job_id: str | None = None) -> None:
        """Report possible new events of one job, or of any. Call only on the event loop."""
        if job_id is None or job_id in self._tails:
            self._wake.set()

    def close(self) -> None:
        """End every stream, so that the server can exit; clients reconnect by themselves."""
        self._is_closing = True
        for tail in self._tails.values():
            tail.wake_listeners()

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
            self._wake.clear()
            if self._tails:
                await self._poll()
                await asyncio.sleep(COALESCE_SECONDS)

    async def follow(self, job_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a stream: past events after a seq, then new ones, then an end."""
        with self._listening(job_id) as tail:
            yield retry_frame()
            seq = after
            while not self._is_closing:
                news = tail.news
                frames = tail.after(seq) if tail.status else []
                if frames is None:
                    frames = await self._read(job_id, seq)
                for frame in frames:
                    yield frame.data
                    seq = frame.seq
                if tail.status and tail.is_final and seq >= tail.last_seq:
                    yield end_frame(tail.status)
                    return
                if not frames and await comment_after(news):
                    yield COMMENT

    @contextmanager
    def _listening(self, job_id: str) -> Iterator[Tail]:
        tail = self._tails.setdefault(job_id, Tail())
        tail.listeners += 1
        if tail.status is None:
            self._wake.set()
        try:
            yield tail
        finally:
            tail.listeners -= 1
            if not tail.listeners:
                self._tails.pop(job_id, None)

    async def _poll(self) -> None:
        """Read new events once for all listeners. While the database is down, try again later."""
        known = {job_id: tail.last_seq for job_id, tail in self._tails.items()}
        try:
            states, frames = await anyio.to_thread.run_sync(
                self._news, known, limiter=self._threads
            )
        except SQLAlchemyError as error:
            _log.warning("follow_failed", error=type(error).__name__)
            return
        for job_id in known:
            if job_id in self._tails:
                self._tails[job_id].update(states.get(job_id), frames.get(job_id, []))

    def _news(self, known: dict[str, int]) -> tuple[dict[str, State], dict[str, list[Frame]]]:
        """Read the states of the jobs, and their new events where those are few."""
        with transaction(self._sessions) as session:
            states = {state.job_id: state for state in history.states(session, list(known))}
            frames = {}
            for job_id, state in states.items():
                # The events of a newly followed job are read by its listener.
                if known[job_id] and 0 < state.last_seq - known[job_id] <= KEPT_EVENTS:
                    found = log.read(session, job_id, after=known[job_id], limit=KEPT_EVENTS)
                    frames[job_id] = [event_frame(event) for event in found]
            return states, frames

    async def _read(self, job_id: str, after: int) -> list[Frame]:
        """Read the next events from the database, retrying for as long as it is down."""
        while not self._is_closing:
            try:
                return await anyio.to_thread.run_sync(
                    self._batch, job_id, after, limiter=self._threads
                )
            except SQLAlchemyError as error:
                _log.warning("follow_failed", error=type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)
        return []

    def _batch(self, job_id: str, after: int) -> list[Frame]:
        with transaction(self._sessions) as session:
            return [event_frame(event) for event in log.read(session, job_id, after=after)]
