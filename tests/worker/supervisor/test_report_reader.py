"""Reports and output of a trainer, which may be any bytes at all."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.jobs.protocol import MAX_REPORT_BYTES, Report
from app.core.redact import HIDDEN, redact
from worker.supervisor.report_reader import ReportReader, parse
from worker.supervisor.trainer_log import CUT, MAX_LINE_BYTES, TrainerLog

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(line=st.binary(max_size=200) | ANY_JSON.map(lambda each: json.dumps(each).encode()))
def test_no_line_breaks_the_parser(line: bytes) -> None:
    assert parse(line) is None or isinstance(parse(line), Report)


@given(data=st.dictionaries(st.text(), ANY_JSON, max_size=4), message=st.text())
@settings(max_examples=200)
def test_what_is_accepted_can_be_stored_by_postgres(data: dict[str, Any], message: str) -> None:
    line = json.dumps({"type": "warning", "message": message, "data": data}, allow_nan=True)
    report = parse(line.encode())
    if report is not None:
        stored = json.dumps(report.data, allow_nan=False, ensure_ascii=False)
        assert "\\u0000" not in stored.replace("\\\\", "")
        stored.encode()


@pytest.mark.parametrize(
    "said",
    [
        {"type": "progress", "data": {}},
        {"type": "progress", "data": {"step": -1}},
        {"type": "progress", "data": {"step": 1 << 60}},
        {"type": "metrics", "data": {"step": 1, "values": {"loss": "high"}}},
        {"type": "phase", "data": {"phase": 7}},
        {"type": "artifact", "data": {"files": [{"path": "x"}]}},
        {"type": "error", "data": {"code": "x"}},
        {"type": "rumour", "data": {}},
        {"type": "warning", "message": "x" * MAX_REPORT_BYTES},
        ["type"],
    ],
)
def test_a_report_outside_the_contract_is_refused(said: object) -> None:
    assert parse(json.dumps(said).encode()) is None


def test_lines_are_put_together_from_whatever_pieces_arrive() -> None:
    taken: list[Report] = []
    read, write = os.pipe()
    reports = ReportReader(read, taken.append)
    thread = threading.Thread(target=reports.read)
    thread.start()
    said = b'{"type": "heartbeat"}\n' * 3 + b"x" * 20_000 + b'\n\n{"type": "heartbeat"}'
    for at in range(0, len(said), 7):
        os.write(write, said[at : at + 7])
    os.close(write)
    thread.join()

    assert len(taken) == 4
    assert reports.num_garbage == 1


def printed(path: Path, said: bytes, max_bytes: int = 1 << 20, piece: int = 1000) -> bytes:
    read, write = os.pipe()
    thread = threading.Thread(target=TrainerLog(read, path, max_bytes).copy)
    thread.start()
    for at in range(0, len(said), piece):
        os.write(write, said[at : at + piece])
    os.close(write)
    thread.join()
    return path.read_bytes()


def test_a_giant_line_is_cut_with_a_mark_and_the_next_one_is_whole(tmp_path: Path) -> None:
    kept = printed(tmp_path / "log", b"a" * 100_000 + b"\nnext\n")
    assert kept == b"a" * MAX_LINE_BYTES + CUT + b"\nnext\n"


def test_output_is_text_without_colours_and_keeps_a_progress_bars_steps(tmp_path: Path) -> None:
    kept = printed(tmp_path / "log", b"\x1b[31mred\x1b[0m\x00\n10%\r20%\rdone")
    assert kept == b"red\n10%\n20%\ndone\n"


def test_the_log_is_capped_and_says_what_is_missing(tmp_path: Path) -> None:
    kept = printed(tmp_path / "log", "\u20ac\n".encode() * 1000, max_bytes=102)
    text = kept.decode()
    assert text.startswith("\u20ac\n" * 25)
    assert len(kept) < 102 + 60
    assert "more bytes were dropped]" in text


@pytest.mark.parametrize(
    "secret",
    [
        "postgresql://user:{}@host/db",
        "redis://:{}@127.0.0.1:6379/0",
        "token ftk_{}",
        "HF: hf_{}",
        "Authorization: Bearer {}",
        "AWS_SECRET_ACCESS_KEY={}",
        '"api_key": "{}"',
        "password={}",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(secret: str) -> None:
    value = "Zq3xV9kLm2Np8RtYw4Bc7Df1"
    clean = redact(f"before {secret.format(value)} after")
    assert value not in clean
    assert HIDDEN in clean
    assert clean.startswith("before ")
    assert clean.endswith((" after", "after"))


@pytest.mark.parametrize(
    "text",
    ["num_tokens=1234567890123456789", "tokens_per_second: 100", "https://host:8000/path",
     "max_new_tokens = 16", "at 12:30://"],
)  # fmt: skip
def test_ordinary_output_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("kind", ["AKIA", "ASIA"])
def test_key_ids_of_aws_are_taken_out(kind: str) -> None:
    assert redact(f"as {kind}ABCDEFGHIJKLMNOP said") == f"as {HIDDEN} said"


def test_half_a_character_does_not_reach_the_database() -> None:
    report = parse(rb'{"type": "warning", "message": "a \ud800 b", "data": {"\udc00": "\udfff"}}')

    assert report is not None
    assert report.message == "a ? b"
    assert report.data == {"?": "?"}


def test_a_report_with_a_long_tail_of_spaces_is_refused() -> None:
    """As it came it is too long; cut to the limit it would be a good one."""
    taken: list[Report] = []
    read, write = os.pipe()
    os.write(write, b'{"type": "heartbeat"}'.ljust(MAX_REPORT_BYTES + 1) + b"\n")
    os.close(write)
    reader = ReportReader(read, taken.append)

    reader.read()

    assert (taken, reader.num_garbage) == ([], 1)
