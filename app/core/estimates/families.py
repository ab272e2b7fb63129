"""The matrices of each architecture, and the check of a folder's tensors against them."""

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
    """A folder's tensors by role; shapes as stored in the file, else numbers of parameters."""

    linear: dict[str, tuple[int, ...]]
    embedding: int
    other: int


def match(
    family: Family, sizes: dict[str, int], tied: bool, tensors: Mapping[str, tuple[int, ...]]
) -> Matched:
    """Sort tensors by role. Raises NotUnderstood unless each matrix is one of the family's, with
    the size config.json gives it.
    """
    expected = _expected(family, sizes)
    linear = {}
    embedding = other = 0
    for name, shape in tensors.items():
        module = name.removesuffix(".weight")
        if module in expected:
            if tuple(shape) != expected[module]:
                raise NotUnderstood(f"{name[:80]!a} does not have the size config.json gives it.")
            linear[module] = shape
        elif module in ("embed_tokens", "wte", "wpe"):
            embedding += prod(shape)
        elif len(shape) == 1:
            other += prod(shape)
        elif module != "lm_head" and not name.endswith((".attn.bias", ".attn.masked_bias")):
            raise NotUnderstood(f"The layer {name[:80]!a} does not belong to the architecture.")
    if linear.keys() != expected.keys() or not embedding:
        raise NotUnderstood("Layers that config.json describes are missing from the safetensors.")
    if not tied and "lm_head.weight" not in tensors:
        raise NotUnderstood("The model has neither a head of its own nor a tied one.")
    return Matched(linear, embedding, other)


def _expected(family: Family, sizes: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return the shape of each layer's matrices as stored in the file, by module name."""
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
