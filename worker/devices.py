"""Resolves the device `auto` without torch: a worker with a GPU never trains on its CPU instead."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_DEV = Path("/dev")


def device_of(setting: str) -> str:
    """`cuda:0` where the machine, or whoever started the worker, offers a GPU; else `cpu`.

    The GPU may still fail: then the trainer reports `device_missing`.
    """
    if setting != "auto":
        return setting
    return "cuda:0" if is_given(os.environ) or _driver_lists_one() else "cpu"


def is_given(environment: Mapping[str, str], dev: Path = _DEV) -> bool:
    """Whether CUDA_VISIBLE_DEVICES names a GPU or, where it says nothing, the kernel has one."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return visible.strip() not in ("", "-1", "NoDevFiles")
    return any(each.name[6:].isdecimal() for each in dev.glob("nvidia*"))


def _driver_lists_one() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES") is not None:
        return False
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    listed = subprocess.run([program, "-L"], capture_output=True, check=False)
    return listed.returncode == 0 and bool(listed.stdout.strip())
