"""The states of a dataset: validated once, then `ready` or `invalid` for good."""

from enum import StrEnum


class DatasetStatus(StrEnum):
    VALIDATING = "validating"
    """Still being fetched or checked."""
    READY = "ready"
    INVALID = "invalid"
    """It has invalid rows, or no rows; a job may skip the invalid rows if others are valid."""
