"""Activations that a forward pass saves for the backward pass, counted operation by operation.

From the modelling code of transformers 5.23, peft 0.21 and trl 1.16 with torch 2.13: a tensor is
saved when an operation's derivative needs it. Frozen weights need no saved input; adapters do.
"""

from dataclasses import dataclass

from app.core.estimates.precision import Device, precision
from app.core.estimates.shape import Linear, ModelShape
from app.core.jobs.spec import JobSpec

TOKENS_A_TILE = 4096
WORDS_A_TILE = 32768
"""TRL computes the loss in tiles of this many tokens by vocabulary entries
(trl.kernels.chunked_logprob)."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch and how it is computed."""

    shape: ModelShape
    spec: JobSpec
    device: Device
    rows: int
    width: int

    @property
    def tokens(self) -> int:
        return self.rows * self.width

    @property
    def is_bf16(self) -> bool:
        return precision(self.spec, self.device) == "bf16"

    @property
    def is_quantized(self) -> bool:
        return self.spec.quantization != "none"

    @property
    def stream(self) -> int:
        """Bytes per element between layers: fp32 for a quantized base, whose norms are fp32."""
        return 2 if self.is_bf16 and not self.is_quantized else 4

    @property
    def product(self) -> int:
        """Bytes per element of a matrix product's input: autocast casts it to bf16."""
        return 2 if self.is_bf16 else 4

    @property
    def is_masked(self) -> bool:
        """Whether attention uses a mask: to separate packed rows, or for a window shorter than
        the sequence.
        """
        window = self.shape.window
        return self.spec.training.packing or (window is not None and self.width > window)

    @property
    def mask_numbers(self) -> int:
        return self.rows * self.width * self.width if self.is_masked else 0


def layer_bytes(batch: Batch) -> int:
    """Bytes saved by one layer without activation checkpointing."""
    shape, tokens = batch.shape, batch.tokens
    first = 2 * tokens * shape.hidden * 4  # inputs of both norms, in fp32
    if shape.family == "gpt2":
        inner = 4 * batch.stream * tokens * shape.intermediate  # the terms of its GELU
    else:
        inner = 3 * batch.stream * tokens * shape.intermediate  # gate, its SiLU, up
    dropped = 2 * _dropout(batch, tokens * shape.hidden) if shape.has_residual_dropout else 0
    return first + inner + dropped + attention_bytes(batch) + adapter_bytes(batch)


def attention_bytes(batch: Batch) -> int:
    shape, tokens = batch.shape, batch.tokens
    queries = tokens * shape.attention_width
    # With a mask, no fused kernel takes grouped heads: keys and values are repeated for each head.
    keys = queries if batch.is_masked else tokens * shape.kv_width
    kept = batch.product * (2 * queries + 2 * keys) + 4 * tokens * shape.heads
    if shape.has_attention_dropout:
        # No fused kernel applies dropout: softmax, dropout mask and result, for every pair.
        pairs = batch.rows * shape.heads * batch.width**2
        kept += batch.product * 2 * pairs + _dropout(batch, pairs)
    return kept + batch.product * batch.mask_numbers


def adapter_bytes(batch: Batch) -> int:
    """Bytes saved by the adapters of one layer: inputs, dropout masks, low-rank activations."""
    lora, tokens, shape = batch.spec.lora, batch.tokens, batch.shape
    targets = _layer_targets(batch)
    middle = batch.product * tokens * lora.r * len(targets)
    if lora.lora_dropout:
        inputs = sum(
            _dropout(batch, tokens * each.num_in) + batch.product * tokens * each.num_in
            for each in targets
        )
    else:
        inputs = batch.product * tokens * sum(_distinct_inputs(targets, shape).values())
    if batch.spec.quantization == "int8":
        # bitsandbytes saves the input of each product, needed or not.
        every = shape.linear[: len(shape.linear) // shape.layers]
        inputs += batch.stream * tokens * sum(_distinct_inputs(every, shape).values())
    if lora.use_dora:
        inputs += 2 * 4 * tokens * sum(each.num_out for each in targets)
    return middle + inputs


def _dropout(batch: Batch, numbers: int) -> int:
    """Bytes of a dropout mask: fp32 per element on a CPU; a byte on a GPU, in one fused kernel."""
    return numbers * (1 if batch.device == "cuda" else 4)


def _layer_targets(batch: Batch) -> tuple[Linear, ...]:
    targets = batch.shape.targets(batch.spec.lora)
    return targets[: -(-len(targets) // batch.shape.layers)]


def _distinct_inputs(targets: tuple[Linear, ...], shape: ModelShape) -> dict[str, int]:
    """Return sizes by input tensor: queries, keys and values share one, gate and up another."""
    shared = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "gate_proj": "up"}
    return {shared.get(each.end, each.name): each.num_in for each in targets}


def working_bytes(batch: Batch) -> int:
    """Bytes a layer's backward pass holds in addition to the saved activations."""
    shape, tokens = batch.shape, batch.tokens
    products = 4 * tokens * (3 * shape.intermediate + 2 * shape.hidden)
    largest = max(each.size for each in shape.linear)
    if batch.is_quantized:
        products += 4 * largest  # a weight, dequantized
    if batch.spec.lora.use_dora:
        products += 4 * 4 * largest  # the adapted weight, for its norm
    return products


def kept_bytes(batch: Batch) -> int:
    """Bytes saved by the whole model when the backward pass begins."""
    shape, tokens = batch.shape, batch.tokens
    ends = 4 * tokens * shape.hidden * 3  # embedding, last norm, the head's input
    mask = batch.mask_numbers
    if batch.spec.training.gradient_checkpointing:
        return ends + mask + shape.layers * batch.stream * tokens * shape.hidden
    return ends + mask + shape.layers * layer_bytes(batch)


def logits_bytes(batch: Batch) -> tuple[int, int]:
    """Peak bytes of the loss, in the backward pass, and bytes of one block of it.

    On a CPU, TRL's tile is followed by seven fp32 tensors and one boolean tensor of its size; a GPU
    works in the tile itself.
    """
    tokens = min(batch.rows * (batch.width - 1), TOKENS_A_TILE)
    words = min(batch.shape.vocab, WORDS_A_TILE)
    head = 4 * words * batch.shape.hidden if batch.is_bf16 else 0  # a slice of it, in fp32
    if batch.device == "cuda":
        tile = tokens * WORDS_A_TILE * batch.product
        return tile + words * batch.shape.hidden * batch.product * batch.is_quantized, tile
    return tokens * words * (batch.product + 7 * 4 + 1) + head, tokens * words * 4
