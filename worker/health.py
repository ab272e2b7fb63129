"""`python -m worker.health`: exit 0 if the database has seen a worker of this host recently.

The health check of docker/worker.Dockerfile, where each container is its own host.
"""

import socket
from datetime import timedelta

from sqlalchemy import select

from app.core.db.models import NOW, Worker
from app.core.db.session import Sessions, make_engine, make_sessions, transaction
from app.core.settings import Settings
from worker.servers import database_url

SEEN_WITHIN = timedelta(seconds=60)
"""`worker.presence` updates the row every 10 s."""


def is_seen(sessions: Sessions, hostname: str) -> bool:
    seen = select(Worker.id).where(
        Worker.hostname == hostname, Worker.last_seen_at > NOW - SEEN_WITHIN
    )
    with transaction(sessions) as session:
        return session.scalar(seen.limit(1)) is not None


def main() -> int:
    engine = make_engine(database_url(Settings()), pool_size=1)
    try:
        return 0 if is_seen(make_sessions(engine), socket.gethostname()) else 1
    finally:
        engine.dispose()


if __name__ == "__main__":
    raise SystemExit(main())
