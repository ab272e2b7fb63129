"""The bench fixture of tests/worker, for stores other than a folder."""

from tests.worker.conftest import bench

__all__ = ["bench"]
