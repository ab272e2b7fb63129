"""Validation of an upload in a child process that may crash, hang or bloat as it likes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from app.core.datasets import report
from app.core.datasets.check import OUT_OF_MEMORY
from app.core.settings import Settings

log = structlog.get_logger(__name__)

# -I leaves out the working directory and PYTHONPATH; only the folder that holds `app` comes back,
# last, so that nothing in it can stand in for the standard library.
_BOOT = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
    "runpy.run_module('app.core.datasets.check', run_name='__main__', alter_sys=True)"
)
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Limits:
    """Of the child, beside the size of what it reads."""

    memory_bytes: int = 1 << 30
    """Address space."""
    base_seconds: float = 60
    bytes_per_second: float = 2e6
    """Slowest reading that is waited for. Seen on one core: 30e6 in good rows, 1.5e6 in bad."""
    extra_file_bytes: int = 64 << 20
    """For the report, which comes on top of the canonical rows."""
    rows_per_byte: int = 12
    """Bytes of canonical rows for one of the upload: the rows of a CSV file do not repeat the keys,
    and a line break in a quoted cell grows when it is escaped."""

    def seconds(self, num_bytes: int) -> float:
        return self.base_seconds + num_bytes / self.bytes_per_second


@dataclass(frozen=True)
class Verdict:
    is_ready: bool
    """Every row is good."""
    format: str
    num_rows: int
    num_valid_rows: int
    """Rows in `rows.jsonl`."""
    features: dict[str, str] = field(default_factory=dict)
    templates: tuple[str, ...] = ()
    """The templates that every good row can be rendered with."""
    row_format: str | None = None
    """The form of its rows; None where no row was read."""


def validate_in_child(
    upload: Path,
    out: Path,
    settings: Settings,
    *,
    declared_format: str = "auto",
    columns: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Verdict:
    """Write `rows.jsonl` and `report.json` below `out` and return their gist.

    Whatever the upload does to the child becomes a verdict, never an exception.
    """
    limits = limits or Limits()
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").unlink(missing_ok=True)
    num_bytes = upload.stat().st_size
    seconds = limits.seconds(num_bytes)
    numbers = (
        settings.max_row_chars,
        limits.memory_bytes,
        int(seconds) + 1,
        limits.rows_per_byte * num_bytes + limits.extra_file_bytes,
        int(2 * seconds) + 60,
    )
    texts = (upload.resolve(), out.resolve(), declared_format, json.dumps(columns or {}))
    status, said = _run([*texts, *numbers], seconds)
    if status != 0 or not (out / "report.json").is_file():
        log.warning("validator_failed", status=status, upload=str(upload), said=said[-2000:])
        _write_failure(out, status)
    return _read_verdict(out)


def _run(arguments: list[Any], seconds: float) -> tuple[int, str]:
    """Exit status of the child and what it said; -SIGXCPU when its time was up."""
    try:
        child = _start(arguments)
    except OSError as error:  # no memory or no process left on this machine
        return 1, str(error)
    try:
        # Twice the CPU time: a busy machine is not the file's fault.
        _, said = child.communicate(timeout=2 * seconds)
    except subprocess.TimeoutExpired:
        return -signal.SIGXCPU, "still running"
    finally:
        _kill_group(child)
    return child.returncode, said.decode(errors="replace")


def _start(arguments: list[Any]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-X", "utf8", "-c", _BOOT, _ROOT, *arguments]
    return subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
        start_new_session=True,
    )


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stderr:
        child.stderr.close()


def _write_failure(out: Path, status: int) -> None:
    problems = report.Problems()
    if status == OUT_OF_MEMORY:
        problems.add("validator_out_of_memory", "Checking the file took more memory than allowed.")
    elif status in (-signal.SIGXCPU, -signal.SIGALRM):
        problems.add("validator_timeout", "Checking the file took longer than allowed.")
    else:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        problems.add("validator_crashed", f"The check of the file {how}.")
    made = report.as_dict("unknown", "The check did not finish.", 0, problems, report.Profile())
    made |= {"row_format": None, "row_format_reason": "The check did not finish."}
    (out / "rows.jsonl").write_bytes(b"")
    (out / "report.json").write_text(json.dumps(made), encoding="utf-8")


def _read_verdict(out: Path) -> Verdict:
    made = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return Verdict(
        is_ready=made["status"] == "ready",
        format=made["format"],
        num_rows=made["num_rows"],
        num_valid_rows=made["num_valid_rows"],
        features=made["features"],
        templates=tuple(made["templates"]),
        row_format=made["row_format"],
    )
