"""`python -m worker`: the Celery worker of one device, run with the arguments that are tested."""

import os
import socket
import sys

from app.core.ids import new_id
from app.core.queue import celery_queue
from app.core.settings import Settings


def main() -> None:
    """Replace this process with Celery (exec), so that it receives signals directly."""
    settings = Settings()
    arguments = [
        *("-A", "worker.celery_app", "worker", "-Q", celery_queue(settings.queue), "-c", "1"),
        *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
        # Unique, so that several workers and stacks can run side by side.
        *("-n", f"{new_id('worker')}@{socket.gethostname()}"),
    ]
    os.execv(sys.executable, [sys.executable, "-m", "celery", *arguments])


if __name__ == "__main__":
    main()
