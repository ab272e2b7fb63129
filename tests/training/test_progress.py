import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from app.core.jobs.protocol import MAX_REPORT_BYTES, ExitCode, Report
from tests.training.bench import REPOSITORY
from worker.training.__main__ import attempt
from worker.training.reporter import SIGN_SECONDS, Reporter, fitted, plain
from worker.training.stop import StopRequest


def lines_of(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "data",
    [
        {"message": "x" * 100_000},
        {"message": "\u00e9" * 100_000, "hint": "y" * 100_000},
        {"values": {f"name-{n}": n for n in range(5000)}},
        {"list": ["z" * 500] * 500},
        {"odd": "\ud800 \x00 \n"},
    ],
)
def test_no_line_is_longer_than_a_supervisor_reads(data):
    line = fitted({"type": "sample", "message": "m" * 9000, "level": "info", "data": data})

    assert len(line) <= MAX_REPORT_BYTES
    assert line.count(b"\n") == 1
    Report.model_validate_json(line)


def test_what_fits_is_left_as_it_is():
    report = {"type": "sample", "message": "", "level": "info", "data": {"a": "x" * 5000}}

    assert json.loads(fitted(report)) == report


def test_numbers_that_json_has_no_words_for_become_none():
    found = plain({"a": float("nan"), "b": [float("inf"), 1.5, (2, "x")], "c": {"d": True}})

    assert found == {"a": None, "b": [None, 1.5, [2, "x"]], "c": {"d": True}}


def test_progress_is_told_once_a_second_and_at_the_end():
    stream = io.BytesIO()
    reports = Reporter(stream)
    for step in range(1000):
        reports.progress(step=step)
    reports.progress(last=True, step=1000)

    assert [each["data"]["step"] for each in lines_of(stream)] == [0, 1000]


def test_signs_of_getting_on_repeat_the_newest_progress_now_and_then():
    stream, now = io.BytesIO(), [0.0]
    reports = Reporter(stream, clock=lambda: now[0])
    reports.progress(step=3, max_steps=9)
    reports.progress(step=4, max_steps=9)
    for _ in range(120):
        now[0] += SIGN_SECONDS / 50
        reports.still_working()

    assert [each["data"] for each in lines_of(stream)] == [
        {"step": 3, "max_steps": 9},
        {"step": 4, "max_steps": 9},
        {"step": 4, "max_steps": 9},
    ]


def test_every_long_phase_gives_signs_of_getting_on(bench, capsys):
    plan = bench.plan(
        validation={"fraction": 0.5},
        training={"max_steps": 1, "gradient_accumulation_steps": 2, "packing": False},
    )
    run_dir, phase, signs = bench.run_dir(plan), "", Counter[str]()

    class Counting(Reporter):
        def phase(self, name: str) -> None:
            nonlocal phase
            phase = name
            super().phase(name)

        def still_working(self) -> None:
            signs[phase] += 1

    assert attempt(run_dir, Counting(io.BytesIO()), StopRequest(run_dir)) == 0

    assert signs["preparing"] >= 4
    assert signs["training"] == 1  # between the two parts of a step
    assert signs["evaluating"] == 3  # batches
    assert signs["finalizing"] >= 2
    assert_log_agrees_with_metrics(capsys.readouterr().out, run_dir)


def assert_log_agrees_with_metrics(log, run_dir):
    """The trainer log has the names and figures of the API, not the Trainer's."""
    lines = [line.split("  ") for line in log.splitlines() if line.startswith("step ")]
    metrics = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    for (step, *words), logged in zip(lines, metrics, strict=True):
        assert step == f"step {logged['step']}"
        told = dict(word.split(" ") for word in words)
        assert told == {name: f"{value:.6g}" for name, value in logged["values"].items()}
    assert [line[1].split(" ")[0] for line in lines] == ["train_loss", "valid_loss"]
    assert "{'" not in log
    assert "mean_token_accuracy'" not in log


def test_the_heart_beats_while_the_trainer_is_busy():
    program = (
        "import sys, time, worker.training.reporter as p; p.HEARTBEAT_SECONDS = 0.05\n"
        "p.start_heartbeat(p.Reporter(sys.stdout.buffer)); time.sleep(0.5)"
    )
    output = run_python(program, stdout=subprocess.PIPE).stdout

    beats = [json.loads(line)["type"] for line in output.splitlines()]
    assert len(beats) >= 3
    assert set(beats) == {"heartbeat"}


def test_a_trainer_nobody_listens_to_ends():
    reading, writing = os.pipe()
    os.close(reading)
    program = (
        "import worker.training.reporter as p; from pathlib import Path\n"
        "p.open_reporter(Path('.')).phase('preparing'); print('still here')"
    )
    result = run_python(
        program,
        stdout=subprocess.PIPE,
        pass_fds=[writing],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TUNESMITH_REPORT_FD": str(writing)},
    )
    os.close(writing)

    assert result.returncode == ExitCode.INFRA
    assert result.stdout == b""


def test_a_trainer_dies_with_its_supervisor():
    child = (
        "from worker.training.__main__ import die_with_parent; import os, time\n"
        "die_with_parent(); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=REPOSITORY, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        trainer = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 10
    while is_alive(trainer):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_python(program: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, check=False, timeout=60, **options
    )
