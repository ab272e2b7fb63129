"""Who asks: every query of a service is held to the caller's project."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    project_id: str
    owner_id: str
