"""The process beside a Celery worker: whom it lives with."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from sqlalchemy import select

from app.core.db.models import Worker
from app.core.db.session import Sessions, transaction
from app.core.settings import Settings
from tests.stacks import ROOT
from tests.waiting import wait_until
from tests.worker.celery_worker import environment
from worker import processes

_NEW_PIDS = ("unshare", "--user", "--pid", "--fork", "--kill-child")


def presence(settings: Settings, *before: str, parent: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*before, sys.executable, "-m", "worker.presence", "node", str(parent)],
        env=environment(settings),
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_a_presence_whose_worker_is_gone_goes_too(settings: Settings) -> None:
    assert presence(settings, parent=os.getppid()).wait(20) == 1


def test_a_presence_is_seen_although_its_worker_is_process_1(
    settings: Settings, sessions: Sessions
) -> None:
    if shutil.which("unshare") is None or subprocess.run([*_NEW_PIDS, "true"]).returncode:
        pytest.skip("no process namespaces here")

    def is_seen() -> bool:
        with transaction(sessions) as session:
            return session.scalar(select(Worker.id)) == "node"

    # The shell is process 1 of its namespace, as Celery is of its container.
    process = presence(settings, *_NEW_PIDS, "sh", "-c", '"$@"; true', "sh", parent=1)
    try:
        wait_until(is_seen, timeout=20)
    finally:
        processes.kill_group(process.pid, signal.SIGKILL)
        process.wait()
