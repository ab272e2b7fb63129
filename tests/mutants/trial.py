"""One run of pytest over named tests, and what it proves.

Each is a fork of this process, in which the libraries are loaded already and nothing of ours is:
half of what a fresh run of one test takes is their imports.
"""

import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

import pytest

LIBRARIES = (
    *("_hypothesis_pytestplugin", "hypothesis", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql"),
    *("psycopg", "alembic.command", "fastapi.testclient", "celery", "kombu", "redis.asyncio"),
    *("httpx", "obstore.store", "structlog", "pydantic_settings", "numpy", "jinja2", "psutil"),
    *("matplotlib.figure", "prometheus_client"),
)
OURS = {"app", "worker", "tests"}
_TESTS_FAILED = 1
"""Pytest's exit status; 2 and above: interrupted, at collection say, or misused."""


class Verdict(StrEnum):
    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    UNDECIDED = "UNDECIDED"
    """It ran out of time, or no test came to fail: an error at collection or of a fixture."""


@dataclass(frozen=True)
class Trial:
    status: int | None
    """None: it ran out of time."""
    seconds: float
    output: str

    @property
    def verdict(self) -> Verdict:
        if self.status == 0:
            return Verdict.SURVIVED
        is_caught = self.status == _TESTS_FAILED and self.failed is not None
        return Verdict.CAUGHT if is_caught else Verdict.UNDECIDED

    @property
    def failed(self) -> str | None:
        """The test that failed."""
        lines = (line for line in self.output.splitlines() if line.startswith("FAILED "))
        line = next(lines, None)
        return line.removeprefix("FAILED ").partition(" - ")[0] if line else None


def load_libraries() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)


def run(tree: Path, tests: Sequence[str], seconds: float) -> Trial:
    """The named tests of a tree, up to the first that fails."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _become_pytest(tree, tests, out.fileno())
        status = _wait(pid, started + seconds)
        out.seek(0)
        return Trial(status, time.monotonic() - started, out.read())


def _become_pytest(tree: Path, tests: Sequence[str], out: int) -> NoReturn:
    status = 3
    try:
        os.setsid()
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(tree)
        os.environ["PYTHONPATH"] = sys.path[0] = str(tree)
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]
        # The plugins among the libraries cannot be rewritten any more, which changes nothing.
        quiet = "ignore::pytest.PytestAssertRewriteWarning"
        options = ["-x", "-q", "-p", "no:cacheprovider", "-W", quiet]
        status = pytest.main([*options, *tests])
        sys.stdout.flush()
    finally:
        os._exit(status)


def _wait(pid: int, until: float) -> int | None:
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None
