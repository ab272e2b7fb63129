"""Waking workers and notifying followers: neither may ever block a caller."""

import signal
import time
from collections.abc import Iterator
from secrets import token_hex

import pytest
import redis

from app.core.events.notifier import CHANNEL, Notifier
from app.core.queue import WorkerQueue
from tests.waiting import wait_until


def test_a_ring_is_heard_in_its_own_queue(redis_url: str) -> None:
    worker_queue = WorkerQueue(redis_url)
    queue = f"q{token_hex(4)}"

    worker_queue.wake(queue)

    wait_until(lambda: worker_queue.num_pending(queue) == 1)
    assert worker_queue.num_pending("another") == 0


def test_a_bell_reaches_those_who_follow(redis_url: str) -> None:
    notifier = Notifier(redis_url)
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as follower:
        follower.subscribe(CHANNEL)
        follower.get_message(timeout=5)
        notifier.notify_followers("job_x")
        heard = follower.get_message(timeout=5)
    notifier.close()
    assert heard is not None
    assert heard["data"] == b"job_x"


@pytest.fixture
def frozen_url(redis_url: str) -> Iterator[str]:
    """The same server, stopped: it accepts connections and never answers."""
    with redis.Redis.from_url(redis_url) as client:
        pid = int(client.info("server")["process_id"])
    import os

    os.kill(pid, signal.SIGSTOP)
    try:
        yield redis_url
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_frozen_broker_holds_nobody_up(frozen_url: str) -> None:
    worker_queue, notifier = WorkerQueue(frozen_url), Notifier(frozen_url)

    begun = time.monotonic()
    for _ in range(200):
        worker_queue.wake("default")
    assert time.monotonic() - begun < 0.5
    notifier.notify_followers("job_x")
    assert time.monotonic() - begun < 2
    assert not worker_queue.wake_worker("default")
    assert time.monotonic() - begun < 12
    notifier.close()


def test_a_broker_that_is_down_is_only_a_missed_ring() -> None:
    worker_queue, notifier = WorkerQueue("redis://127.0.0.1:1/0"), Notifier("redis://127.0.0.1:1/0")

    assert not worker_queue.wake_worker("default")
    assert worker_queue.num_pending("default") is None
    notifier.notify_followers("job_x")
    notifier.close()
