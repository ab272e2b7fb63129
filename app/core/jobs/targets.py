"""Check of `target_modules`: which layers can carry an adapter."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from app.core.jobs.failures import BadTarget

Modules = Literal["all-linear"] | Sequence[str]
_HEAD = "lm_head"
_BYPASSED = ("conv1d", "dt_proj", "out_proj")
"""Layers whose weight a state-space block reads directly: an adapter there would not be trained.
PEFT refuses `conv1d` and `out_proj`."""
_HYBRID = ("q_proj", "k_proj", "v_proj", "o_proj", "in_proj")
_STATE_SPACE: Mapping[str, tuple[str, ...]] = {
    "mamba": ("in_proj", "x_proj"),
    "falcon_mamba": ("in_proj", "x_proj"),
    "mamba2": ("in_proj",),
    "falcon_h1": (*_HYBRID, "gate_proj", "up_proj", "down_proj"),
    "nemotron_h": (*_HYBRID, "up_proj", "down_proj"),
}
"""Layers that can carry an adapter, by the model types for which PEFT knows of the others."""


def check(modules: Modules, linear: Collection[str], model_type: str | None = None) -> None:
    """Raise BadTarget for names that match no linear layer, and for the head, whose adapter TRL's
    loss would bypass.

    `linear`: full names of the model's linear layers.
    """
    check_type(modules, model_type)
    if modules == "all-linear":
        return
    ends = sorted({name.rpartition(".")[2] for name in linear} - {_HEAD})
    for name in modules:
        known = any(each == name or each.endswith(f".{name}") for each in linear)
        if name.rpartition(".")[2] == _HEAD or not known:
            raise BadTarget(
                f'"{name}" is not a linear layer that can carry an adapter.',
                evidence=f"linear layers: {', '.join(ends)}"[:2000],
                hint=f'This model has {", ".join(ends)}; "all-linear" selects them all.',
                suggested_patch={"lora": {"target_modules": "all-linear"}},
            )


def check_type(modules: Modules, model_type: str | None) -> None:
    """Raise BadTarget for what the architecture alone rules out; needs no list of layers."""
    fitting = _STATE_SPACE.get(model_type or "")
    if fitting is None:
        return
    names = _BYPASSED if modules == "all-linear" else modules
    refused = [name for name in names if name.rpartition(".")[2] in _BYPASSED]
    if not refused:
        return
    kept = [name for name in modules if name not in refused] if modules != "all-linear" else []
    shown = ", ".join(f"'{name}'" for name in refused)
    raise BadTarget(
        f"Module {shown} is incompatible with Mamba-based models (model_type='{model_type}').",
        evidence=f"`target_modules`: {modules!r}; the model reads the weights of {shown} directly",
        hint=f"Layers that can carry an adapter: {', '.join(fitting)}.",
        suggested_patch={"lora": {"target_modules": kept or list(fitting)}},
    )
