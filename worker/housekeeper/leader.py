"""Elects one leader per database: the holder of an advisory lock, lost with its connection."""

import structlog
from sqlalchemy import Connection, Engine, text

_log = structlog.get_logger(__name__)
_KEY = 0x74756E65
"""Key of the lock: any number not used otherwise in this database."""


class Leadership:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Whether we lead. Raises the database's error if it cannot be reached."""
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
            # Not returned to the pool: the lock ends with the database session.
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
