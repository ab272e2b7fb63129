"""The Celery application. Its messages, sent over the Redis protocol, only wake workers.

A message may be lost, duplicated or late: the claim in the database decides which worker runs which
job. Celery 5.7 is the last release line that supports Python 3.11.
"""

import contextlib
import os
import signal
import subprocess
import sys
from typing import Any

from celery import Celery, signals

from app.core import logs
from app.core.queue import KEY_PREFIX, celery_queue
from app.core.settings import Settings
from worker.servers import redis_url
from worker.slot import Slot
from worker.supervisor import orphans


def make_app(settings: Settings) -> Celery:
    made = Celery("tunesmith", broker=redis_url(settings), include=["worker.tasks"])
    made.conf.update(
        # With late acknowledgement, a task that outlasts the visibility timeout is delivered
        # again; so is a prefetched message.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # The database owns retries.
        task_reject_on_worker_lost=False,
        task_retry_on_worker_lost=False,
        # True killed a job during an 8 s broker outage; it becomes the default in 6.0.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # State is in the database; there is no result backend.
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=celery_queue(settings.queue),
        # The default gives up after 100 tries.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # Short is safe: no message stays unacknowledged.
            "visibility_timeout": 300,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": KEY_PREFIX,
        },
        # A fresh child process per wake-up. SIGTERM is a warm shutdown; we drain ourselves.
        worker_pool="prefork",
        worker_concurrency=1,
        worker_max_tasks_per_child=1,
        worker_soft_shutdown_timeout=0,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return made


celery_app = make_app(Settings())

_CONCLUDE_SECONDS = 15.0
_presence: subprocess.Popen[bytes] | None = None


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logging(**_: Any) -> None:
    logs.configure(Settings().log_format)


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _arrive(sender: Any, **_: Any) -> None:
    """Clear a drain request and orphans left by earlier workers, then start `worker.presence`."""
    global _presence
    settings = Settings()
    Slot(settings.data_dir, sender.hostname).reopen()
    orphans.sweep(settings.runs_dir)
    _presence = subprocess.Popen(
        [sys.executable, "-m", "worker.presence", sender.hostname, str(os.getpid())]
    )


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _drain(sender: str, **_: Any) -> None:
    """On SIGTERM, have the running job commit a checkpoint and go back to the queue."""
    Slot(Settings().data_dir, sender).drain()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _leave(sender: Any, **_: Any) -> None:
    if _presence is not None:
        _presence.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            # It may run a trainer itself, whose outcome it must still record.
            _presence.wait(Settings().stop_grace_seconds + _CONCLUDE_SECONDS)
        _presence.kill()
    Slot(Settings().data_dir, sender.hostname).forget()
