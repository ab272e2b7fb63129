"""Bytes a job leaves on disk while it runs, at the most."""

from dataclasses import dataclass

from app.core.jobs.spec import JobSpec
from app.core.plan.shape import ModelShape


@dataclass(frozen=True)
class Disk:
    checkpoints: int
    artifact: int
    rows: int
    """The job's copy of its dataset."""
    base: int
    """Fetched from the hub; 0 for a base that lies on this machine."""
    log: int

    @property
    def total_bytes(self) -> int:
        return self.checkpoints + self.artifact + self.rows + self.base + self.log


def estimate(
    shape: ModelShape,
    spec: JobSpec,
    *,
    steps: int,
    rows_bytes: int,
    tokenizer_bytes: int = 0,
    fetched_bytes: int = 0,
    max_log_bytes: int = 64 << 20,
) -> Disk:
    raise NotImplementedError
