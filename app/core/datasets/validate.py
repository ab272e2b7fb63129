"""Validate an upload in a sandboxed child, which may crash, hang or run out of memory."""

import json
import math
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from app.core import store_keys
from app.core.datasets.checking import report
from app.core.datasets.checking.check import OUT_OF_MEMORY
from app.core.datasets.reading.budget import Budget
from app.core.datasets.reading.sources import Upload, is_packed
from app.core.datasets.status import DatasetStatus
from app.core.sandbox import child
from app.core.sandbox.child import ChildFailed
from app.core.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Limits:
    """How the child's limits follow from the size of the upload."""

    memory_bytes: int = 1 << 30
    """Address space. Python, pyarrow and their libraries take 290e6 bytes before the first row."""
    base_seconds: float = 60
    bytes_per_second: float = 2e6
    """Slowest reading allowed. Measured on one core: 30e6 for valid rows, 1.5e6 for invalid."""
    extra_file_bytes: int = report.MAX_STORED + (64 << 20)
    """For the problems and the report, in addition to the canonical rows."""
    rows_per_byte: int = 12
    """Bytes of canonical rows per byte of the upload: the rows of a CSV file do not repeat the
    keys, and a line break in a quoted cell grows when it is escaped."""
    unpacked_per_byte: int = 5
    """Expected expansion of a compressed file, for the time limit; `budget` caps the real one."""

    def of_child(self, uploads: Sequence[Upload], most: int) -> child.Limits:
        packed = [each.path.stat().st_size for each in uploads if is_packed(each.path)]
        plain = sum(each.path.stat().st_size for each in uploads) - sum(packed)
        at_most = plain + sum(Budget(size, most).allowed for size in packed)
        likely = plain + self.unpacked_per_byte * sum(packed)
        seconds = self.base_seconds + likely / self.bytes_per_second
        return child.Limits(
            memory_bytes=self.memory_bytes,
            cpu_seconds=math.ceil(seconds),
            # Twice the CPU time: the machine may be busy.
            wall_seconds=2 * seconds,
            file_bytes=self.rows_per_byte * at_most + self.extra_file_bytes,
        )


@dataclass(frozen=True)
class Verdict:
    is_ready: bool
    """The file has rows, and all are valid."""
    format: str
    num_rows: int
    num_valid_rows: int
    """Rows in `rows.jsonl`."""
    features: dict[str, str] = field(default_factory=dict)
    templates: tuple[str, ...] = ()
    """Templates that can render every valid row."""
    row_format: str | None = None
    """The format of its rows; None if it could not be detected."""


def validate_in_child(
    uploads: Path | Sequence[Upload],
    out: Path,
    settings: Settings,
    *,
    declared_format: str = "auto",
    columns: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> Verdict:
    """Write `rows.jsonl`, `problems.jsonl` and `report.json` into `out` and return a summary.

    Whatever the upload does to the child, the result is a verdict, never an exception.
    """
    files = [Upload(uploads)] if isinstance(uploads, Path) else uploads
    out.mkdir(parents=True, exist_ok=True)
    (out / store_keys.REPORT).unlink(missing_ok=True)
    task = {
        "files": [(str(each.path.resolve()), each.name) for each in files],
        "out": str(out.resolve()),
        "declared": declared_format,
        "columns": dict(columns or {}),
        "max_row_chars": settings.max_row_chars,
        "max_bytes": settings.max_upload_bytes,
    }
    allowed = (limits or Limits()).of_child(files, settings.max_upload_bytes)
    status, said = _run(task, allowed)
    if status != 0 or not (out / store_keys.REPORT).is_file():
        log.warning("validator_failed", status=status, upload=str(files[0].path), said=said[-2000:])
        _write_failure(out, status)
    return _read_verdict(out)


def _run(task: Mapping[str, Any], limits: child.Limits) -> tuple[int, str]:
    """Return the child's exit status and standard error."""
    try:
        child.run("app.core.datasets.checking.check", [], [json.dumps(task).encode()], limits)
    except ChildFailed as failed:
        return failed.status, failed.said
    except OSError as error:  # this machine is out of memory or processes
        return 1, str(error)
    return 0, ""


def _write_failure(out: Path, status: int) -> None:
    for name, content in report.broken_off(*_explain(status)).items():
        (out / name).write_bytes(content)


def _explain(status: int) -> tuple[str, str]:
    """Return the error code and message for a child's exit status."""
    if status == OUT_OF_MEMORY:
        return "validator_out_of_memory", "Checking the file took more memory than allowed."
    if status in (-signal.SIGXCPU, -signal.SIGALRM):
        return "validator_timeout", "Checking the file took longer than allowed."
    how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
    return "validator_crashed", f"The check of the file {how}."


def _read_verdict(out: Path) -> Verdict:
    made = json.loads((out / store_keys.REPORT).read_text(encoding="utf-8"))
    return Verdict(
        is_ready=made["status"] == DatasetStatus.READY,
        format=made["format"],
        num_rows=made["num_rows"],
        num_valid_rows=made["num_valid_rows"],
        features=made["features"],
        templates=tuple(made["templates"]),
        row_format=made["row_format"],
    )
