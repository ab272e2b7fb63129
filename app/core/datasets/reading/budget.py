"""How much a compressed file may decompress to; sizes stated in the file are not trusted."""

from app.core.datasets.reading.parse import Fault

RATIO = 100
"""Decompressed bytes allowed per byte of the file. Human text compresses 3 to 20 times; gzip's own
limit is 1,032."""
FLOOR = 64 << 20
"""Decompressed bytes allowed for any file: a small one of similar rows compresses better."""


class Unreadable(Exception):
    """The rest of a file cannot be read; the fault gives the reason."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Budget:
    """The decompressed bytes left for one file."""

    def __init__(self, num_bytes: int, most: int) -> None:
        """`most`: the upload limit in bytes, compressed or not."""
        self.allowed = min(max(FLOOR, RATIO * num_bytes), max(most, num_bytes))
        self.used = 0

    @property
    def left(self) -> int:
        return self.allowed - self.used

    def spend(self, num_bytes: int) -> None:
        """Use up `num_bytes`. Raises Unreadable if fewer are left."""
        self.used += num_bytes
        if self.used > self.allowed:
            raise Unreadable(self.fault())

    def fault(self) -> Fault:
        return Fault(
            "unpacked_too_large",
            f"The file decompresses to more than the {self.allowed:,} bytes allowed for it.",
        )
