"""The caller of a request: every query of a service is restricted to the caller's project."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    project_id: str
    owner_id: str
