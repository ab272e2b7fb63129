"""Which matrices an architecture has, and a folder's tensors held against them."""

from collections.abc import Mapping
from math import prod
from typing import Literal, NamedTuple

Family = Literal["llama", "gpt2"]

_LLAMA_LINEAR = (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip
_GPT2_LINEAR = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


class NotUnderstood(Exception):
    pass


class Matched(NamedTuple):
    """The tensors of a folder by what they are; sizes as they lie in the file."""

    linear: dict[str, tuple[int, ...]]
    embedding: int
    other: int


def match(
    family: Family, sizes: dict[str, int], tied: bool, tensors: Mapping[str, tuple[int, ...]]
) -> Matched:
    """Every matrix must be one the family has, with the size the configuration gives it."""
    expected = _expected(family, sizes)
    linear = {}
    embedding = other = 0
    for name, shape in tensors.items():
        module = name.removesuffix(".weight")
        if module in expected:
            if tuple(shape) != expected[module]:
                raise NotUnderstood(f"{name[:80]!a} has not the size that config.json gives it.")
            linear[module] = shape
        elif module in ("embed_tokens", "wte", "wpe"):
            embedding += prod(shape)
        elif len(shape) == 1:
            other += prod(shape)
        elif module != "lm_head" and not name.endswith((".attn.bias", ".attn.masked_bias")):
            raise NotUnderstood(f"The layer {name[:80]!a} is none of its architecture's.")
    if linear.keys() != expected.keys() or not embedding:
        raise NotUnderstood("Layers that config.json speaks of are not in the safetensors.")
    if not tied and "lm_head.weight" not in tensors:
        raise NotUnderstood("The model has neither a head of its own nor a tied one.")
    return Matched(linear, embedding, other)


def _expected(family: Family, sizes: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Shapes of a layer's matrices as they lie in the file."""
    hidden, inner = sizes["hidden"], sizes["intermediate"]
    queries = sizes["heads"] * sizes["head_dim"]
    keys = sizes["kv_heads"] * sizes["head_dim"]
    if family == "gpt2":
        shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden)]
        names: tuple[str, ...] = _GPT2_LINEAR
        stem = "h"
    else:
        shapes = [
            (queries, hidden), (keys, hidden), (keys, hidden), (hidden, queries),
            (inner, hidden), (inner, hidden), (hidden, inner),
        ]  # fmt: skip
        names, stem = _LLAMA_LINEAR, "layers"
    return {
        f"{stem}.{number}.{name}": shape
        for number in range(sizes["layers"])
        for name, shape in zip(names, shapes, strict=True)
    }
