"""Estimates of a job's memory, disk and time before it starts, from sizes and measurements.

No torch, no database: callers pass a model's folder, a resolved spec and past runs.
"""

from app.core.estimates.devices import DeviceClass, device_classes, fits
from app.core.estimates.disk import Disk
from app.core.estimates.memory import Memory
from app.core.estimates.shape import ModelShape, Unknown, read_shape
from app.core.estimates.time import PastRun, Time, Work

__all__ = [
    "DeviceClass",
    "Disk",
    "Memory",
    "ModelShape",
    "PastRun",
    "Time",
    "Unknown",
    "Work",
    "device_classes",
    "fits",
    "read_shape",
]
