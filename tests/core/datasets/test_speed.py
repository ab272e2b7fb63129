"""500,000 rows take less than 60 seconds on one core; a tenth of them is tested here.

`python -m bench validate` measures all of them.
"""

from pathlib import Path

import pytest

from bench.validate import write
from tests.core.datasets.judging import judge

pytestmark = pytest.mark.slow

ROWS = 50_000
MOST_SECONDS = 12
"""Twice a tenth of 60: other processes on the machine slow a core down, too."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(tmp_path_factory.mktemp("rows"), ROWS)


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet"])
def test_fifty_thousand_rows_are_checked_in_seconds(form, files, tmp_path):
    report = judge(files[form], tmp_path)

    assert (report["status"], report["num_valid_rows"]) == ("ready", ROWS)
    assert report["used"]["cpu_seconds"] < MOST_SECONDS
    assert report["used"]["rss_bytes"] < 400 << 20
