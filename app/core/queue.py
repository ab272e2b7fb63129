"""Wake-ups for Celery workers: a message says that a queue may have work. It is a hint that may be
lost or delivered twice; the database decides who works on what.
"""

import queue as queues
import threading
from typing import Protocol

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError

WAKE_TASK = "tunesmith.wake"
KEY_PREFIX = "ft:"
"""Prefix of every key in the broker, so that other applications can share the server."""
_log = structlog.get_logger(__name__)


class Queue(Protocol):
    def wake(self, queue: str) -> None: ...


def celery_queue(queue: str) -> str:
    """Return the broker's name for one of our queues."""
    return f"tunesmith.{queue}"


class WorkerQueue:
    """Sends from its own thread, so that no request ever waits for a broker that hangs."""

    def __init__(self, redis_url: str) -> None:
        self._celery = Celery("tunesmith", broker=redis_url)
        self._celery.conf.update(
            task_serializer="json",
            task_ignore_result=True,
            broker_transport_options={
                "global_keyprefix": KEY_PREFIX,
                "socket_timeout": 5,
                "socket_connect_timeout": 2,
                "max_retries": 0,
            },
        )
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=2)
        self._waiting: queues.Queue[str] = queues.Queue(maxsize=100)
        threading.Thread(target=self._run, name="wake", daemon=True).start()

    def wake(self, queue: str) -> None:
        """Send a wake-up soon; returns at once. Dropped if too many are pending: the housekeeper
        sends another.
        """
        try:
            self._waiting.put_nowait(queue)
        except queues.Full:
            _log.warning("wake_queue_full", queue=queue)

    def wake_worker(self, queue: str) -> bool:
        """Send a wake-up now, within seconds. Return False if the broker did not accept it."""
        try:
            self._celery.send_task(
                WAKE_TASK, kwargs={"queue": queue}, queue=celery_queue(queue), retry=False
            )
        except (OperationalError, OSError) as error:
            _log.warning("broker_unavailable", queue=queue, error=type(error).__name__)
            return False
        return True

    def num_pending(self, queue: str) -> int | None:
        """Return the number of wake-ups no worker has taken, or None if the broker is down."""
        try:
            # Where kombu keeps the messages of a queue, at the default priority.
            return int(self._redis.llen(KEY_PREFIX + celery_queue(queue)))
        except redis.RedisError as error:
            _log.warning("broker_unavailable", queue=queue, error=type(error).__name__)
            return None

    def _run(self) -> None:
        while True:
            self.wake_worker(self._waiting.get())
