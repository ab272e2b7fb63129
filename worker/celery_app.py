"""The Celery application: it wakes workers over the Redis protocol, never a source of truth.

A message only wakes a worker up. It may be lost, doubled or late; the claim in the database decides
who works on what. Celery 5.7 is the last line that supports Python 3.11.
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
        # Late acknowledgement re-runs whatever outlasts the visibility timeout, and a prefetched
        # message is delivered again too.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # The database owns retries.
        task_reject_on_worker_lost=False,
        task_retry_on_worker_lost=False,
        # True killed a job on an 8 s broker blip; the default flips in 6.0.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # State is in the database; there is no result backend.
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=celery_queue(settings.queue),
        # By default it gives up after 100 tries.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # Short is safe because nothing stays unacknowledged.
            "visibility_timeout": 300,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": KEY_PREFIX,
        },
        # A fresh child per wake-up; SIGTERM is warm, drain is ours.
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
    """Clean up after the dead, then let a process beside us show that we live."""
    global _presence
    settings = Settings()
    Slot(settings.data_dir, sender.hostname).reopen()
    orphans.sweep(settings.runs_dir)
    _presence = subprocess.Popen(
        [sys.executable, "-m", "worker.presence", sender.hostname, str(os.getpid())]
    )


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _drain(sender: str, **_: Any) -> None:
    """SIGTERM: what runs commits a checkpoint and goes back to the queue."""
    Slot(Settings().data_dir, sender).drain()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _leave(sender: Any, **_: Any) -> None:
    if _presence is not None:
        _presence.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            # It may have a trainer of its own, whose end is still to be judged and written.
            _presence.wait(Settings().stop_grace_seconds + _CONCLUDE_SECONDS)
        _presence.kill()
    Slot(Settings().data_dir, sender.hostname).forget()
