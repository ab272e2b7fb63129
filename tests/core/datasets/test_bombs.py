"""Decompression bombs and the like are refused in seconds, in little memory, with a code."""

import pytest

from tests.core.datasets.bombs import BOMBS
from tests.core.datasets.judging import judge

pytestmark = pytest.mark.slow

NAMES = [write.__name__ for write, *_ in BOMBS]


@pytest.mark.parametrize(("write", "expected", "num_good"), BOMBS, ids=NAMES)
def test_a_bomb_is_refused_in_seconds(write, expected, num_good, tmp_path):
    upload = tmp_path / "upload"
    write(upload)

    report = judge(upload, tmp_path / "out")

    errors = [p for p in report["problems"] if p["severity"] == "error"]
    assert report["status"] == "invalid"
    assert [(p["code"], p["line"]) for p in errors] == expected
    assert all(p["hint"] and len(p["message"]) < 400 for p in errors)
    assert report["num_valid_rows"] == num_good
    assert report["used"]["cpu_seconds"] < 30
    assert report["used"]["rss_bytes"] < 1 << 30
