"""The bench of tests/worker, for fault tests."""

from tests.worker.conftest import bench

__all__ = ["bench"]
