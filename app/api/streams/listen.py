"""One Redis subscription per process. While Redis is down, streams are slower but miss no event."""

import asyncio

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.api.streams.follower import Follower
from app.core.events.notifier import CHANNEL

RETRY_SECONDS = 1.0
_log = structlog.get_logger(__name__)


async def listen(redis_url: str, follower: Follower) -> None:
    """Pass notifications of new events to the follower, forever. It also polls once a second."""
    while True:
        try:
            await _listen_once(redis_url, follower)
        except (RedisError, OSError) as error:
            _log.debug("pubsub_unavailable", error=type(error).__name__)
        await asyncio.sleep(RETRY_SECONDS)


async def _listen_once(redis_url: str, follower: Follower) -> None:
    async with (
        Redis.from_url(redis_url, socket_connect_timeout=2) as client,
        client.pubsub(ignore_subscribe_messages=True) as pubsub,
    ):
        await pubsub.subscribe(CHANNEL)
        # Messages published before the subscription were missed.
        follower.notify()
        async for message in pubsub.listen():
            follower.notify(message["data"].decode("utf-8", "replace"))
