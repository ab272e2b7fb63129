"""Reads a trainer's report lines: each is parsed, validated and cleaned, or counted as garbage.

The trainer is not trusted: what passes here is safe to write to the database.
"""

import json
import math
import os
from collections.abc import Callable
from typing import Annotated, Any, Literal, NoReturn

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.jobs.failures import FailureReport
from app.core.jobs.protocol import MAX_REPORT_BYTES, Report
from app.core.redact import redact

_log = structlog.get_logger(__name__)

Step = Annotated[int, Field(ge=0, lt=1 << 53)]
_READ_BYTES = 1 << 16
_MAX_LOGGED = 10


class _Data(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class PhaseData(_Data):
    phase: Annotated[str, Field(max_length=64)]


class ProgressData(_Data):
    step: Step


class ValuesData(_Data):
    """Data of `metrics` and `eval` reports."""

    step: Step
    values: dict[Annotated[str, Field(max_length=200)], float | None]


class CheckpointData(_Data):
    step: Step
    epoch: float = 0.0
    bytes: Step = 0
    metrics: dict[str, float | None] = {}
    best: bool = False


class ArtifactFile(BaseModel):
    path: str
    bytes: Step
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    kind: str = "other"


class ArtifactData(_Data):
    trained_tokens: Step | None = None
    step: Step | None = None
    chosen: Literal["best", "last"] | None = None
    stopped_by: Literal["early_stopping", "deadline"] | None = None
    files: list[ArtifactFile]
    environment: dict[str, Any] = {}


SHAPES: dict[str, type[BaseModel]] = {
    "phase": PhaseData,
    "progress": ProgressData,
    "metrics": ValuesData,
    "eval": ValuesData,
    "checkpoint": CheckpointData,
    "artifact": ArtifactData,
    "error": FailureReport,
}


class ReportReader:
    """Reads a trainer's reports from a descriptor and hands each to `take`."""

    def __init__(self, descriptor: int, take: Callable[[Report], None]) -> None:
        self._descriptor = descriptor
        self._take = take
        self._line = bytearray()
        self.num_garbage = 0

    def read(self) -> None:
        """Read until every writer has closed the pipe."""
        with os.fdopen(self._descriptor, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_READ_BYTES):
                *ended, rest = chunk.split(b"\n")
                for part in ended:
                    self._extend(part)
                    self._end_line()
                self._extend(rest)
        self._end_line()

    def _extend(self, part: bytes) -> None:
        # One byte past the limit is kept: it marks a line that is too long.
        self._line += part[: MAX_REPORT_BYTES + 1 - len(self._line)]

    def _end_line(self) -> None:
        line = bytes(self._line)
        self._line.clear()
        if not line.strip():
            return
        report = parse(line)
        if report is None:
            self.num_garbage += 1
            if self.num_garbage <= _MAX_LOGGED:
                _log.warning("report_garbage", line=redact(line[:200].decode("utf-8", "replace")))
        else:
            self._take(report)


def parse(line: bytes) -> Report | None:
    """Return the report, or None for anything that does not follow the protocol."""
    if len(line) > MAX_REPORT_BYTES:
        return None
    try:
        report = Report.model_validate(_clean(json.loads(line, parse_constant=_refuse)))
        shape = SHAPES.get(report.type)
        if shape is not None:
            shape.model_validate(report.data)
    except (ValueError, RecursionError, ValidationError):
        return None
    return report


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _clean(value: Any) -> Any:
    """Redact secrets and remove what Postgres rejects: NUL, lone surrogates, infinite numbers."""
    if isinstance(value, str):
        return redact(value.replace("\0", "").encode("utf-8", "replace").decode())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list) else value
