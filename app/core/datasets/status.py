"""The states of a dataset: judged once, then `ready` or `invalid` for good."""

from enum import StrEnum


class DatasetStatus(StrEnum):
    VALIDATING = "validating"
    """Still being fetched or checked."""
    READY = "ready"
    INVALID = "invalid"
    """It has bad rows, or none; a job may skip those if others are good."""
