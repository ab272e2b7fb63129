"""Redis pub/sub notifications for followers of a job. A message is only a hint: followers read the
job's events from the database.
"""

import redis
import structlog

CHANNEL = "ft:bell"
_log = structlog.get_logger(__name__)


class Notifier:
    """Publishes a job's id. If the broker is down or hangs, a call takes at most half a second and
    raises nothing.
    """

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=0.5, socket_connect_timeout=0.5
        )

    def notify_followers(self, job_id: str) -> None:
        try:
            self._redis.publish(CHANNEL, job_id)
        except redis.RedisError as error:
            _log.debug("notify_failed", error=type(error).__name__)

    def close(self) -> None:
        self._redis.close()
