"""The bench of tests/worker, for faults."""

from tests.worker.conftest import bench

__all__ = ["bench"]
