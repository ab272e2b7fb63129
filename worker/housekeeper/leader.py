"""One leader per database: whoever holds the advisory lock. It is lost with its connection."""

import structlog
from sqlalchemy import Connection, Engine, text

_log = structlog.get_logger(__name__)
_KEY = 0x74756E65
"""Of the lock; any number that nobody else uses in this database."""


class Leadership:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Whether we lead. Raises what the database raises when it cannot be asked."""
        try:
            if self._connection is None:
                return self._take()
            self._connection.execute(text("SELECT 1"))
        except Exception:
            self.release()
            raise
        return True

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # Not back to the pool: the lock ends with the session.
            connection.invalidate()
            connection.close()

    def _take(self) -> bool:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        is_ours = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _KEY})
        if not is_ours:
            connection.close()
            return False
        self._connection = connection
        _log.info("leading")
        return True
