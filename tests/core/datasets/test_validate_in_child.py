"""The child may crash, hang or run out of memory: the caller gets a verdict."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from app.core.datasets.formats import read_rows
from app.core.datasets.validate import Limits, validate_in_child
from app.core.settings import Settings

pytestmark = pytest.mark.slow

ROW = b'{"instruction": "Say \xc3\xa4.", "input": "", "output": "\xc3\xa4", "text": "t"}\n'


@pytest.fixture
def upload(tmp_path):
    path = tmp_path / "upload"
    path.write_bytes(ROW * 3)
    return path


def report_of(out):
    return json.loads((out / "report.json").read_text())


def test_a_good_file_becomes_canonical_rows_and_a_report(upload, tmp_path):
    verdict = validate_in_child(upload, tmp_path / "out", Settings())

    assert verdict.is_ready
    assert (verdict.format, verdict.num_rows, verdict.num_valid_rows) == ("jsonl", 3, 3)
    assert verdict.features == dict.fromkeys(
        ["instruction", "input", "output", "text"], "Value('string')"
    )
    assert list(verdict.features) == ["instruction", "input", "output", "text"]
    assert verdict.templates == ("alpaca", "chat", "text")
    rows = list(read_rows(tmp_path / "out" / "rows.jsonl"))
    assert rows == [json.loads(ROW)] * 3
    report = report_of(tmp_path / "out")
    assert report["duplicates"] == {"exact": 2, "examples": [[0, 1], [0, 2]]}
    assert report["lengths"]["instruction"] == {
        "min": 6, "max": 6, "mean": 6.0, "p50": 6, "p90": 6, "p99": 6,
    }  # fmt: skip
    assert report["first_rows"] == rows


def test_a_declared_format_and_the_longest_row_reach_the_child(upload, tmp_path):
    settings = Settings(max_row_chars=20)

    verdict = validate_in_child(upload, tmp_path / "out", settings, declared_format="json")

    counts = report_of(tmp_path / "out")["problem_counts"]
    assert counts == {"format_mismatch": 1, "row_too_long": 3}
    assert not verdict.is_ready


def failed(upload, tmp_path, limits):
    verdict = validate_in_child(upload, tmp_path / "out", Settings(), limits=limits)
    assert (verdict.is_ready, verdict.num_valid_rows) == (False, 0)
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == b""
    [problem] = report_of(tmp_path / "out")["problems"]
    assert problem["hint"]
    return problem["code"]


def test_running_out_of_memory_is_a_verdict(upload, tmp_path):
    upload.write_bytes(b'{"instruction": "' + b"x" * (1 << 28))
    settings = Settings(max_row_chars=1 << 28)
    limits = Limits(memory_bytes=200 << 20)

    validate_in_child(upload, tmp_path / "out", settings, limits=limits)

    counts = report_of(tmp_path / "out")["problem_counts"]
    assert counts == {"validator_out_of_memory": 1}


def test_running_out_of_time_is_a_verdict_in_time(tmp_path, upload):
    upload.write_bytes(ROW * 300_000)
    started = time.monotonic()

    code = failed(upload, tmp_path, Limits(base_seconds=0, bytes_per_second=1e9))

    assert code == "validator_timeout"
    assert time.monotonic() - started < 10


def test_a_child_that_cannot_write_is_a_verdict(upload, tmp_path):
    limits = Limits(rows_per_byte=0, extra_file_bytes=10)

    assert failed(upload, tmp_path, limits) == "validator_crashed"


def test_a_child_that_cannot_even_start_is_a_verdict(upload, tmp_path):
    code = failed(upload, tmp_path, Limits(memory_bytes=1 << 20))

    assert code in ("validator_out_of_memory", "validator_crashed")


def test_an_earlier_report_is_not_taken_for_this_one(upload, tmp_path):
    validate_in_child(upload, tmp_path / "out", Settings())

    assert failed(upload, tmp_path, Limits(rows_per_byte=0, extra_file_bytes=0))


def test_the_child_sees_no_secret(upload, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_HUB_TOKEN", "canary")
    upload.write_bytes(ROW * 300_000)

    with ThreadPoolExecutor() as pool:
        verdict = pool.submit(validate_in_child, upload, tmp_path / "out", Settings())
        child = wait_for_child()
        environment = Path(f"/proc/{child.pid}/environ").read_bytes()
        session = os.getsid(child.pid)

    assert b"canary" not in environment
    assert session == child.pid
    assert verdict.result().is_ready


def wait_for_child() -> psutil.Process:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for child in psutil.Process().children():
            if "app.core.datasets.checking.check" in " ".join(child.cmdline()):
                return child
    raise AssertionError("no child was started")
