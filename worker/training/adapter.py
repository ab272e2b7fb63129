"""Which layers get an adapter: one definition of "linear", and of experts, routers and towers.

Linear is what PEFT's `all-linear` takes: `torch.nn.Linear`, its quantized subclasses, and GPT-2's
`Conv1D`. Experts are stacked parameters, [experts, ., .], and not modules.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from app.core.jobs import targets
from app.core.jobs.spec import LoraSpec

_ROUTERS = frozenset({"gate", "router", "shared_expert_gate"})
_NUM_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


@dataclass(frozen=True)
class Targets:
    modules: Literal["all-linear"] | list[str]
    parameters: list[str]
    """Suffixes of the experts' parameters that are trained, such as `mlp.experts.down_proj`."""
    frozen_experts: list[str]
    """Those that `all-linear` asks for and PEFT cannot train."""
    frozen_share: float
    """Their share of all weights of the base."""


def choose(lora: LoraSpec, base: Any) -> Targets:
    """Resolve `target_modules` against a base. Raises BadTarget."""
    linear, experts = text_linear(base), stacked_experts(base)
    names = lora.target_modules
    targets.check(names, [*linear, *experts], getattr(base.config, "model_type", None))
    trained = sorted(_ends(_chosen(names, experts)))
    modules: Literal["all-linear"] | list[str]
    modules = _chosen(names, [name for name in linear if not _is_router(base, name)])
    if not experts and _all_linear(base) == linear:
        modules = names  # PEFT selects the same, and the adapter's config stays short
    if lora.use_dora and trained:  # PEFT has no DoRA for parameters
        return Targets(modules, [], trained, share(experts, base))
    return Targets(modules, trained, [], 0.0)


def text_linear(base: Any) -> list[str]:
    """Names of the linear layers that text passes, without the head."""
    head = base.get_output_embeddings()
    seen = _text_modules(base)
    return [name for name in _all_linear(base) if (m := _at(base, name)) is not head and m in seen]


def stacked_experts(base: Any) -> dict[str, int]:
    """Names and sizes of the parameters that hold all experts of a layer."""
    config = base.config.get_text_config()
    counts = {getattr(config, name, None) for name in _NUM_EXPERTS} - {None}
    return {
        name: prod(each.shape)
        for name, each in base.named_parameters()
        if each.dim() == 3 and each.shape[0] in counts and not _is_convolution(base, name)
    }


def spread_dropout(model: Any, rate: float) -> None:
    """Set the dropout of linear layers; PEFT takes none where parameters are trained, too."""
    import torch
    from peft.tuners.lora.layer import LoraLayer, ParamWrapper

    for layer in model.modules():
        if isinstance(layer, LoraLayer) and not isinstance(layer, ParamWrapper):
            layer.lora_dropout["default"] = torch.nn.Dropout(rate)


def _chosen(names: Literal["all-linear"] | Sequence[str], among: Any) -> list[str]:
    if names == "all-linear":
        return list(among)
    ends = tuple(f".{name}" for name in names)
    return [name for name in among if f".{name}".endswith(ends)]


def _ends(names: Sequence[str]) -> set[str]:
    """Without the number of the layer: PEFT compares the ends of names."""
    return {".".join(name.split(".")[-3:]) for name in names}


def _all_linear(base: Any) -> list[str]:
    """Every linear layer but the head, as PEFT's `all-linear` selects them."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = base.get_output_embeddings()
    kinds = (torch.nn.Linear, Conv1D)
    return [n for n, each in base.named_modules() if isinstance(each, kinds) and each is not head]


def _text_modules(base: Any) -> set[Any]:
    """All modules; of a multimodal model those of its language model."""
    if base.config.get_text_config() is base.config:
        return set(base.modules())
    return set(base.get_decoder().modules())


def _is_router(base: Any, name: str) -> bool:
    parent, _, end = name.rpartition(".")
    owner = _at(base, parent)
    return end in _ROUTERS and any(hasattr(owner, each) for each in ("experts", "shared_expert"))


def _is_convolution(base: Any, name: str) -> bool:
    from torch.nn.modules.conv import _ConvNd

    return isinstance(_at(base, name.rpartition(".")[0]), _ConvNd)


def _at(base: Any, name: str) -> Any:
    return base.get_submodule(name)


def share(experts: Mapping[str, int], base: Any) -> float:
    """The experts' share of all weights."""
    return sum(experts.values()) / sum(_sizes(base))


def _sizes(base: Any) -> Iterator[int]:
    # A 4-bit weight holds two numbers per element; its shape says so in `quant_state`.
    for each in base.parameters():
        state = getattr(each, "quant_state", None)
        yield prod(state.shape) if state is not None else each.numel()
