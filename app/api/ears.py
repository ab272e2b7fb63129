"""One ear per process for the bell: Redis pub/sub, deaf without harm while Redis is down."""

import asyncio

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.api.follow import Follower
from app.core.events.bell import CHANNEL

RETRY_SECONDS = 1.0
_log = structlog.get_logger(__name__)


async def listen(redis_url: str, follower: Follower) -> None:
    """Pass on what the bell says, for ever. The follower looks once a second anyway."""
    while True:
        try:
            await _listen_once(redis_url, follower)
        except (RedisError, OSError) as error:
            _log.debug("bell_unheard", error=type(error).__name__)
        await asyncio.sleep(RETRY_SECONDS)


async def _listen_once(redis_url: str, follower: Follower) -> None:
    async with (
        Redis.from_url(redis_url, socket_connect_timeout=2) as client,
        client.pubsub(ignore_subscribe_messages=True) as pubsub,
    ):
        await pubsub.subscribe(CHANNEL)
        # What rang before we listened was missed.
        follower.ring()
        async for message in pubsub.listen():
            follower.ring(message["data"].decode("utf-8", "replace"))
