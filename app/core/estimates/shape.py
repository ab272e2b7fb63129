"""The shape of a base model, read from its folder without a tensor library: sizes, never weights.

Only architectures whose layers are known here are supported. Any other is `Unknown`, with the
reason: an unreliable figure is worse than none.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from app.core.estimates.families import Family, NotUnderstood, match
from app.core.jobs.spec import LoraSpec
from app.core.models.weights import BadWeights, read_tensors

Tensors = dict[str, tuple[tuple[int, ...], int]]
"""Shape and bits per element, by tensor name."""

_FAMILIES: dict[str, Family] = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "llama",
    "qwen3": "llama",
    "smollm3": "llama",
    "gpt2": "gpt2",
}
"""By `model_type`: how a layer is built, and so what it saves for the backward pass."""
_TIED_BY_DEFAULT = {"gpt2", "smollm3"}
"""Model types whose configuration class ties head and embedding unless config.json says otherwise.
"""

_EMBEDDING = re.compile(r"(^|\.)(embed|wte|wpe|word_embed|position_embed)")
"""Names of tables that rows are looked up in: matrices, but not linear layers."""


@dataclass(frozen=True)
class Linear:
    name: str
    """The torch module's name, such as `model.layers.0.self_attn.q_proj`."""
    num_in: int
    num_out: int

    @property
    def end(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def size(self) -> int:
        return self.num_in * self.num_out


@dataclass(frozen=True)
class ModelShape:
    family: Family
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    is_tied: bool
    """Whether the head shares the embedding's weights."""
    embedding: int
    """Parameters of the embeddings, including learned positions."""
    other: int
    """Parameters of norms and biases."""
    linear: tuple[Linear, ...]
    """Linear layers of all blocks, without the head."""
    file_bytes: int
    """Bytes of all tensors in the safetensors files."""
    file_bits: int
    """Bits per element of the most frequent dtype in them."""
    window: int | None = None
    """Sliding attention window in tokens; None if attention is not limited."""
    has_attention_dropout: bool = False
    has_residual_dropout: bool = False

    @property
    def head(self) -> int:
        """Parameters of the head; 0 if it is tied."""
        return 0 if self.is_tied else self.vocab * self.hidden

    @property
    def in_linear(self) -> int:
        return sum(each.size for each in self.linear)

    @property
    def parameters(self) -> int:
        return self.embedding + self.head + self.other + self.in_linear

    @property
    def attention_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def linear_names(self) -> tuple[str, ...]:
        """Names of the linear layers, including the head and GPT-2's `Conv1D`."""
        return (*(each.name for each in self.linear), "lm_head")

    def targets(self, lora: LoraSpec) -> tuple[Linear, ...]:
        """The linear layers that get an adapter; the head never does."""
        modules = lora.target_modules
        if modules == "all-linear":
            return self.linear
        names = tuple(f".{name}" for name in modules)
        return tuple(each for each in self.linear if f".{each.name}".endswith(names))

    def adapter_parameters(self, lora: LoraSpec) -> int:
        targets = self.targets(lora)
        magnitudes = sum(each.num_out for each in targets) if lora.use_dora else 0
        return lora.r * sum(each.num_in + each.num_out for each in targets) + magnitudes


@dataclass(frozen=True)
class Unknown:
    reason: str
    """One sentence for the reader of the estimates."""


def read_shape(folder: Path) -> ModelShape | Unknown:
    """Read config.json and the safetensors headers; never raises because of their contents."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        return _described(config, _tensors(folder))
    except NotUnderstood as unknown:
        return Unknown(str(unknown))
    except (OSError, ValueError, AttributeError, BadWeights):
        return Unknown("The model's config.json or its safetensors cannot be read.")


def layer_names(folder: Path) -> tuple[str, ...]:
    """Return the names of modules that have a matrix, by the names in the files: a superset of the
    linear layers. Empty where a library renames tensors as it loads them (experts), or if the files
    cannot be read.
    """
    try:
        tensors = _tensors(folder)
    except (OSError, ValueError, AttributeError, BadWeights):
        return ()
    if any(".experts." in name or _is_stack(shape) for name, (shape, _) in tensors.items()):
        return ()
    matrices = [name for name, (shape, _) in tensors.items() if len(shape) == 2]
    return tuple(name.removesuffix(".weight") for name in matrices if not _EMBEDDING.search(name))


def _is_stack(shape: tuple[int, ...]) -> bool:
    """Whether a tensor is the matrices of all experts; a depthwise convolution has one channel."""
    return len(shape) == 3 and shape[1] > 1


def _tensors(folder: Path) -> Tensors:
    """Read the files transformers would load: the single file, or those of the index."""
    one = folder / "model.safetensors"
    if one.is_file():
        return read_tensors(one)
    index = json.loads((folder / "model.safetensors.index.json").read_bytes())
    found: Tensors = {}
    for name in sorted(set(index["weight_map"].values())):
        found |= read_tensors(folder / Path(name).name)
    return found


def _described(config: Mapping[str, Any], tensors: Tensors) -> ModelShape:
    kind = config.get("model_type")
    family = _FAMILIES.get(str(kind))
    if family is None:
        known = ", ".join(sorted(_FAMILIES))
        raise NotUnderstood(
            f"The memory use of the architecture {str(kind)[:60]!a} is unknown; "
            f"supported are {known}."
        )
    sizes = _llama_sizes(config) if family == "llama" else _gpt2_sizes(config)
    tied = bool(config.get("tie_word_embeddings", kind in _TIED_BY_DEFAULT))
    return _with_tensors(family, sizes, tied, tensors, config)


def _llama_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    heads = _number(config, "num_attention_heads")
    hidden = _number(config, "hidden_size")
    return {
        "hidden": hidden,
        "layers": _number(config, "num_hidden_layers"),
        "heads": heads,
        "kv_heads": _number(config, "num_key_value_heads", heads),
        "head_dim": _number(config, "head_dim", hidden // heads),
        "intermediate": _number(config, "intermediate_size"),
        "vocab": _number(config, "vocab_size"),
    }


def _gpt2_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    hidden, heads = _number(config, "n_embd"), _number(config, "n_head")
    return {
        "hidden": hidden,
        "layers": _number(config, "n_layer"),
        "heads": heads,
        "kv_heads": heads,
        "head_dim": hidden // heads,
        "intermediate": _number(config, "n_inner", 4 * hidden),
        "vocab": _number(config, "vocab_size"),
    }


def _number(config: Mapping[str, Any], name: str, otherwise: int | None = None) -> int:
    value = config.get(name)
    if value is None:
        value = otherwise
    if type(value) is not int or not 0 < value < 1 << 40:
        raise NotUnderstood(f"config.json has no usable `{name}`, so memory cannot be estimated.")
    return value


def _with_tensors(
    family: Family,
    sizes: dict[str, int],
    tied: bool,
    tensors: Tensors,
    config: Mapping[str, Any],
) -> ModelShape:
    bare = {
        name.removeprefix("transformer.").removeprefix("model."): shape
        for name, (shape, _) in tensors.items()
    }
    matched = match(family, sizes, tied, bare)
    prefix = "transformer." if family == "gpt2" else "model."
    bits = [bits for shape, bits in tensors.values() for _ in range(len(shape))]
    return ModelShape(
        family=family,
        **sizes,
        is_tied=tied,
        embedding=matched.embedding,
        other=matched.other,
        linear=tuple(
            # GPT-2 stores its matrices transposed.
            Linear(prefix + name, *(shape if family == "gpt2" else shape[::-1]))
            for name, shape in matched.linear.items()
        ),
        file_bytes=sum(prod(shape) * bits // 8 for shape, bits in tensors.values()),
        file_bits=max(set(bits), key=bits.count),
        window=_window(config),
        has_attention_dropout=_has_dropout(config, ("attention_dropout", "attn_pdrop"), family),
        has_residual_dropout=_has_dropout(config, ("resid_pdrop",), family),
    )


def _window(config: Mapping[str, Any]) -> int | None:
    window = config.get("sliding_window")
    is_used = bool(config.get("use_sliding_window", config.get("model_type") == "mistral"))
    return window if is_used and type(window) is int else None


def _has_dropout(config: Mapping[str, Any], names: tuple[str, ...], family: Family) -> bool:
    """GPT-2's configuration class defaults to a dropout of 0.1."""
    rates = [config[name] for name in names if name in config]
    return bool(rates[0]) if rates else family == "gpt2"
