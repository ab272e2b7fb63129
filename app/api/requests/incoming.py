"""Streams the bytes of a request into the storage, chunk by chunk, without spooling them.

The thread that writes to the storage pulls each chunk from the event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from typing import Any

from anyio import from_thread
from fastapi import Request

from app.core.errors import Failure
from app.core.storage import CHUNK_BYTES

STALLED_SECONDS = 60.0


class UploadStalled(Failure):
    code = "upload_stalled"
    status = 408


async def receive(stream: AsyncIterator[bytes]) -> bytes:
    """Return the next chunk, or b"" at the end. Raises UploadStalled."""
    try:
        return await asyncio.wait_for(anext(stream, b""), STALLED_SECONDS)
    except TimeoutError:
        detail = f"No data arrived for {STALLED_SECONDS:.0f} s; send the file again."
        raise UploadStalled(detail, headers={"Connection": "close"}) from None


def pulled(next_chunk: Callable[[], Coroutine[Any, Any, bytes]]) -> Iterator[bytes]:
    """Iterate in a worker thread; each step blocks until the event loop has the next chunk."""
    return iter(partial(from_thread.run, next_chunk), b"")


class RawBody:
    """A request body that is the file itself."""

    def __init__(self, request: Request) -> None:
        self._stream: AsyncIterator[bytes] = request.stream()

    async def next_chunk(self) -> bytes:
        """Return about one MiB, or b"" at the end."""
        buffer = bytearray()
        while len(buffer) < CHUNK_BYTES and (chunk := await receive(self._stream)):
            buffer += chunk
        return bytes(buffer)
