"""Prefixed ids that sort by time: `job_` + 32 hexadecimal digits of a uuid7."""

from typing import Literal

from uuid6 import uuid7

Prefix = Literal["job", "ds", "proj", "key", "wh", "req", "worker", "upl", "part"]


def new_id(prefix: Prefix) -> str:
    return f"{prefix}_{uuid7().hex}"
