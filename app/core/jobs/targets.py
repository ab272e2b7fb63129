"""Which layers may be named to carry an adapter."""

from collections.abc import Collection, Sequence
from typing import Literal

from app.core.jobs.failures import BadTarget

_HEAD = "lm_head"


def check(wanted: Literal["all-linear"] | Sequence[str], linear: Collection[str]) -> None:
    """Refuse names that fit nothing, and the head, whose adapter TRL's loss would pass over.

    `linear`: the model's linear layers by their full names.
    """
    if wanted == "all-linear":
        return
    ends = sorted({name.rpartition(".")[2] for name in linear} - {_HEAD})
    for name in wanted:
        known = any(each == name or each.endswith(f".{name}") for each in linear)
        if name.rpartition(".")[2] == _HEAD or not known:
            raise BadTarget(
                f'"{name}" is not a linear layer that can carry an adapter.',
                hint=f'This model has {", ".join(ends)}; "all-linear" takes them all.',
                suggested_patch={"lora": {"target_modules": "all-linear"}},
            )
