"""The bell of the broker and the bell of those who follow: neither may ever hold anyone up."""

import signal
import time
from collections.abc import Iterator
from secrets import token_hex

import pytest
import redis

from app.core.events.bell import CHANNEL, Bell
from app.core.queue import Doorbell
from tests.waiting import wait_until


def test_a_ring_is_heard_in_its_own_queue(redis_url: str) -> None:
    doorbell = Doorbell(redis_url)
    queue = f"q{token_hex(4)}"

    doorbell.wake(queue)

    wait_until(lambda: doorbell.num_unheard(queue) == 1)
    assert doorbell.num_unheard("another") == 0


def test_a_bell_reaches_those_who_follow(redis_url: str) -> None:
    bell = Bell(redis_url)
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as follower:
        follower.subscribe(CHANNEL)
        follower.get_message(timeout=5)
        bell.ring("job_x")
        heard = follower.get_message(timeout=5)
    bell.close()
    assert heard is not None
    assert heard["data"] == b"job_x"


@pytest.fixture
def frozen_url(redis_url: str) -> Iterator[str]:
    """The same server, stopped: it accepts connections and says nothing."""
    with redis.Redis.from_url(redis_url) as client:
        pid = int(client.info("server")["process_id"])
    import os

    os.kill(pid, signal.SIGSTOP)
    try:
        yield redis_url
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_frozen_broker_holds_nobody_up(frozen_url: str) -> None:
    doorbell, bell = Doorbell(frozen_url), Bell(frozen_url)

    begun = time.monotonic()
    for _ in range(200):
        doorbell.wake("default")
    assert time.monotonic() - begun < 0.5
    bell.ring("job_x")
    assert time.monotonic() - begun < 2
    assert not doorbell.ring("default")
    assert time.monotonic() - begun < 12
    bell.close()


def test_a_broker_that_is_down_is_only_a_missed_ring() -> None:
    doorbell, bell = Doorbell("redis://127.0.0.1:1/0"), Bell("redis://127.0.0.1:1/0")

    assert not doorbell.ring("default")
    assert doorbell.num_unheard("default") is None
    bell.ring("job_x")
    bell.close()
