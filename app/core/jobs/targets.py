"""Check of `target_modules`: which layers can carry an adapter."""

from collections.abc import Collection, Sequence
from typing import Literal

from app.core.jobs.failures import BadTarget

_HEAD = "lm_head"


def check(modules: Literal["all-linear"] | Sequence[str], linear: Collection[str]) -> None:
    """Raise BadTarget for names that match no linear layer, and for the head, whose adapter TRL's
    loss would bypass.

    `linear`: full names of the model's linear layers.
    """
    if modules == "all-linear":
        return
    ends = sorted({name.rpartition(".")[2] for name in linear} - {_HEAD})
    for name in modules:
        known = any(each == name or each.endswith(f".{name}") for each in linear)
        if name.rpartition(".")[2] == _HEAD or not known:
            raise BadTarget(
                f'"{name}" is not a linear layer that can carry an adapter.',
                hint=f'This model has {", ".join(ends)}; "all-linear" selects them all.',
                suggested_patch={"lora": {"target_modules": "all-linear"}},
            )
