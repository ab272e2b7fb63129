"""A dataset as callers see it."""

from typing import Any, Literal

from app.api.schemas.base import Answer, Anything, Moment


class DatasetOut(Answer):
    id: str
    name: str
    status: Literal["validating", "ready", "invalid"]
    format: str
    num_rows: int | None
    num_valid_rows: int | None
    num_bytes: int
    sha256: str
    features: Anything | None
    created_at: Moment


class RowsOut(Answer):
    """Rows as they were stored after validation."""

    data: list[Anything]
    offset: int
    num_rows: int
    """Of those there are to read: the valid ones."""
    has_more: bool


class ReportProblem(Answer):
    row: int | None = None
    line: int | None = None
    pointer: str = ""
    code: str
    severity: str
    message: str
    hint: str = ""
    snippet: str = ""


class ReportOut(Answer):
    """Everything the validator found."""

    dataset: str
    status: str
    format: str
    detected: str
    num_rows: int
    num_valid_rows: int
    problems: list[ReportProblem]
    problem_counts: dict[str, int]
    problems_truncated: bool
    duplicates: dict[str, Any]
    lengths: dict[str, Any]
    features: dict[str, Any]
