"""Whether a memory estimate fits: common sizes of GPUs, and this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.core.estimates.memory import Memory
from app.core.estimates.precision import Device

Verdict = Literal["yes", "tight", "no"]
GIB = 1 << 30


@dataclass(frozen=True)
class DeviceClass:
    name: str
    device: Device
    usable_bytes: int


_USABLE_OF_GPU = 0.97
"""GPUs report 1 to 3 % less than their nominal size (a 24 GB card 23.5 GiB): firmware and ECC."""
_USABLE_OF_HOST = 0.9
"""The rest is for the system and other processes beside the trainer."""
_ERROR: Mapping[Device, float] = {"cpu": 0.15, "cuda": 0.10}
"""Relative error of the estimate, as measured by `python -m bench memory`."""

GPUS = tuple(
    DeviceClass(f"{gib} GB GPU", "cuda", int(gib * GIB * _USABLE_OF_GPU))
    for gib in (8, 12, 16, 24, 40, 48, 80, 141)
)


def device_classes() -> tuple[DeviceClass, ...]:
    """Return this machine, then GPUs by size."""
    total = this_machine_bytes()
    own = DeviceClass(
        f"cpu: {round(total / GIB)} GB (this machine)", "cpu", int(total * _USABLE_OF_HOST)
    )
    return (own, *GPUS)


def this_machine_bytes() -> int:
    """Return the machine's memory, or this process's cgroup limit if that is lower."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = int(next(line for line in lines if line.startswith("MemTotal")).split()[1]) * 1024
    limits = [
        int(text)
        for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
        if (text := _read(path)).isdigit()
    ]
    return min([total, *limits])


def fits(
    memory: Mapping[Device, Memory], classes: Sequence[DeviceClass] | None = None
) -> dict[str, Verdict]:
    """Return verdicts by class name. `tight`: the estimate fits, but not with its error margin."""
    return {
        each.name: verdict(memory[each.device], each)
        for each in (device_classes() if classes is None else classes)
        if each.device in memory
    }


def verdict(memory: Memory, device: DeviceClass) -> Verdict:
    if memory.peak_bytes * (1 + _ERROR[device.device]) <= device.usable_bytes:
        return "yes"
    return "tight" if memory.peak_bytes <= device.usable_bytes else "no"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
