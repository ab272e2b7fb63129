"""URLs of the database and the broker, for processes that cannot run without them."""

from app.core.settings import Settings


class NotConfigured(SystemExit):
    def __init__(self, name: str) -> None:
        super().__init__(f"Set TUNESMITH_{name}: this process cannot run without it.")


def database_url(settings: Settings) -> str:
    if settings.database_url is None:
        raise NotConfigured("DATABASE_URL")
    return settings.database_url


def redis_url(settings: Settings) -> str:
    if settings.redis_url is None:
        raise NotConfigured("REDIS_URL")
    return settings.redis_url
