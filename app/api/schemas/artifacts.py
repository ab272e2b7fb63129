"""Artifacts, metrics and logs as callers see them."""

from app.api.schemas.base import Answer


class FileOut(Answer):
    path: str
    bytes: int
    sha256: str
    kind: str


class ArchiveOut(Answer):
    bytes: int
    sha256: str


class ManifestOut(Answer):
    job: str
    files: list[FileOut]
    adapter: ArchiveOut | None
    """The zip at GET /jobs/{id}/adapter."""


class SeriesOut(Answer):
    steps: list[int]
    values: list[float]


class MetricsOut(Answer):
    job: str
    series: dict[str, SeriesOut]
    max_points: int | None
    """Longer series keep their first and last point and each stretch's least and greatest."""


class LogPart(Answer):
    attempt: int
    lines: list[str]


class LogsOut(Answer):
    data: list[LogPart]
    """Oldest attempt first."""
