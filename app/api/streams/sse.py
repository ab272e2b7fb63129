"""Server-sent events: the wire format, and a streaming response that always ends."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import anyio
from prometheus_client import Gauge
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.schemas.history import EventOut
from app.core.db.models import Event

RETRY_MILLISECONDS = 2000
COMMENT_SECONDS = 15.0
COMMENT = b": still here\n\n"
BLOCKED_SECONDS = 30.0
"""A client that reads nothing for this long is disconnected."""


@dataclass(frozen=True)
class Frame:
    seq: int
    data: bytes


def event_frame(event: Event) -> Frame:
    data = EventOut.model_validate(event).model_dump_json()
    return Frame(event.seq, f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n".encode())


def retry_frame() -> bytes:
    return f"retry: {RETRY_MILLISECONDS}\n\n".encode()


def end_frame(status: str) -> bytes:
    return f'event: end\ndata: {{"status": "{status}"}}\n\n'.encode()


async def comment_after(news: asyncio.Event) -> bool:
    """Wait for new events; return True if none came for so long that a comment is due."""
    try:
        await asyncio.wait_for(news.wait(), COMMENT_SECONDS)
    except TimeoutError:
        return True
    return False


class EventStream(Response):
    """Ends when its source ends, when the client disconnects, or when the client stops reading."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes, None], open_streams: Gauge) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._open_streams = open_streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with self._open_streams.track_inprogress():
            async with aclosing(self._chunks), anyio.create_task_group() as group:
                group.start_soon(_until_gone, receive, group.cancel_scope)
                is_taken = await self._pump(send)
                group.cancel_scope.cancel()
                if not is_taken:
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> bool:
        """Send all chunks. Returns False if the client stopped reading."""
        async for chunk in self._chunks:
            with anyio.move_on_after(BLOCKED_SECONDS) as patience:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if patience.cancelled_caught:
                return False
        return True


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
