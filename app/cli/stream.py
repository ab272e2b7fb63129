"""Follows the event stream of a job, reconnecting after a break, until the event `end`."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from app.cli.client import Refused, Server, Unreachable

PATIENCE_SECONDS = 120.0
"""How long the server may be unreachable before following gives up."""


@dataclass(frozen=True)
class Message:
    """One server-sent event."""

    id: str
    event: str
    data: str


def follow(server: Server, job_id: str) -> Iterator[dict[str, Any]]:
    """Yield the events of a job in order, each once: `{seq, type, level, message, data, ...}`."""
    last, gone_since = "", 0.0
    while True:
        try:
            for message in _connect(server, job_id, last):
                gone_since = 0.0
                if message.event == "end":
                    return
                if message.id:
                    last = message.id
                    yield json.loads(message.data)
            reason = "the stream broke off"
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
        gone_since = gone_since or time.monotonic()
        if time.monotonic() - gone_since > PATIENCE_SECONDS:
            raise Unreachable(server.url, reason)
        time.sleep(0.5)


def parse(pieces: Iterable[bytes]) -> Iterator[Message]:
    """Parse the messages of an event stream, regardless of how its bytes are split."""
    fields: dict[str, list[str]] = {}
    for line in _lines(pieces):
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        elif fields:
            if "data" in fields or "event" in fields:
                yield _message(fields)
            fields = {}


def _connect(server: Server, job_id: str, last: str) -> Iterator[Message]:
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
    try:
        with server.stream(f"/jobs/{job_id}/stream", headers) as response:
            yield from parse(response.iter_bytes())
    except Refused as refused:
        if not refused.is_temporary:
            raise


def _message(fields: dict[str, list[str]]) -> Message:
    return Message(
        id=fields.get("id", [""])[-1],
        event=fields.get("event", ["message"])[-1],
        data="\n".join(fields.get("data", [])),
    )


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    # Not httpx's iter_lines, which also splits at U+2028, a character that JSON may contain.
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r").decode()
