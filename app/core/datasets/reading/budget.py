"""How much a packed file may become: nothing that it says of itself counts."""

from app.core.datasets.reading.parse import Fault

RATIO = 100
"""Bytes for one of the file. Text of people packs 3 to 20 times; gzip's own bound is 1,032."""
FLOOR = 64 << 20
"""Bytes that any file may become: a small one of much alike rows packs better."""


class Unreadable(Exception):
    """From here on nothing of a file can be read; the fault says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Budget:
    """What is left for one file."""

    def __init__(self, num_bytes: int, most: int) -> None:
        """`most`: what may be uploaded, packed or not."""
        self.allowed = min(max(FLOOR, RATIO * num_bytes), max(most, num_bytes))
        self.used = 0

    @property
    def left(self) -> int:
        return self.allowed - self.used

    def spend(self, num_bytes: int) -> None:
        """Raises Unreadable when there is not so much left."""
        self.used += num_bytes
        if self.used > self.allowed:
            raise Unreadable(self.fault())

    def fault(self) -> Fault:
        return Fault(
            "unpacked_too_large",
            f"Unpacked, the file is larger than the {self.allowed:,} bytes it may become.",
        )
