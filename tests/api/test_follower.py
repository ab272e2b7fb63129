"""What a stream hands out of what its process keeps, poll by poll: nothing here waits for a clock.

The polls of `Follower` are made by hand between the reads of a stream, so that a listener is behind
by exactly as much as each test wants.
"""

import asyncio
from contextlib import aclosing

from app.api.streams.follower import KEPT_EVENTS, Follower, Tail
from app.api.streams.sse import Frame, end_frame, retry_frame
from app.services.history import State


def frames(first: int, last: int) -> list[Frame]:
    return [Frame(seq, b"") for seq in range(first, last + 1)]


def test_what_is_kept_is_given_whole_or_not_at_all():
    """For every listener, wherever it is, after polls that found few events and too many."""
    tail, last = Tail(), 0
    for found in (2, 3, KEPT_EVENTS + 1, 3, 0, KEPT_EVENTS, 7, 5 * KEPT_EVENTS, 1):
        first, last = last + 1, last + found
        # As the follower reads: not at the first poll, nor what is more than it keeps.
        is_read = first > 1 and found <= KEPT_EVENTS
        tail.update(State("job_x", last, "running", False), frames(first, last) if is_read else [])

        for seq in range(last + 2):
            given = tail.after(seq)
            assert given is None or [each.seq for each in given] == list(range(seq + 1, last + 1))
        assert tail.after(last) == []
        assert not is_read or tail.after(first - 1) is not None, "what was just read is kept"


def test_a_listener_that_fell_behind_misses_nothing(client, world, sessions):
    body = {"model": "tiny", "dataset": world.dataset()}
    job_id = client.post("/jobs", json=body).json()["id"]

    async def read() -> list[bytes]:
        follower = Follower(sessions)
        async with aclosing(follower.follow(job_id, 0)) as stream:
            assert await anext(stream) == retry_frame()
            await follower._poll()
            seen = [await anext(stream)]
            # More than is kept, then a few that are: it has seen the first event and no other.
            for count in (KEPT_EVENTS + 100, 3):
                world.append(job_id, count)
                await follower._poll()
            client.post(f"/jobs/{job_id}/cancel")
            await follower._poll()
            return seen + [chunk async for chunk in stream]

    *events, end = asyncio.run(read())

    told = [int(event.partition(b"\n")[0].removeprefix(b"id: ")) for event in events]
    # Two of its creation, those above, and its cancel.
    assert told == list(range(1, 2 + KEPT_EVENTS + 100 + 3 + 1 + 1))
    assert end == end_frame("cancelled")
