"""Thousands of corrupted files: each gets a report, none crashes, bloats or stalls the check.

MUTATED_FILES=20000 runs all of them, CI the first 1,500 of the same sequence, so that a failure can
be reproduced.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.core.datasets.mutated import ROOT

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("MUTATED_FILES", "1500"))


def test_spoiled_files_are_judged_and_nothing_else() -> None:
    command = [sys.executable, "-m", "tests.core.datasets.mutated", str(COUNT), "20261124"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600)

    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    assert told["files"] == COUNT
    assert min(told["ready"], told["invalid"]) > COUNT / 100
    assert told["slowest_seconds"] <= 10
    assert told["rss_bytes"] <= 1 << 30
