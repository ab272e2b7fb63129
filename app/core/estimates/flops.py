"""Floating-point operations a token costs: in training and in an evaluation.

A product with a matrix of n numbers costs 2n a token. Frozen matrices need no weight gradient: 4n
in all, 6n where the forward pass is done again (activation checkpointing). An adapter needs all.
"""

from app.core.estimates.shape import ModelShape
from app.core.jobs.spec import JobSpec


def training_flops(shape: ModelShape, spec: JobSpec, width: int) -> float:
    """Of a token in a sequence of `width`."""
    again = 1 if spec.training.gradient_checkpointing else 0
    adapter = shape.adapter_parameters(spec.lora)
    matrices = (4 + 2 * again) * shape.in_linear + (6 + 2 * again) * adapter
    # TRL's loss computes each tile of logits twice, checkpointing or not.
    head = 6 * shape.vocab * shape.hidden
    # A fused kernel's backward pass is 2.5 of its forward passes (Dao 2023, "FlashAttention-2").
    attention = (3.5 + again) * attention_flops(shape, width)
    return matrices + head + attention


def forward_flops(shape: ModelShape, spec: JobSpec, width: int) -> float:
    matrices = shape.in_linear + shape.adapter_parameters(spec.lora) + shape.vocab * shape.hidden
    return 2 * matrices + attention_flops(shape, width)


def attention_flops(shape: ModelShape, width: int) -> float:
    """Scores and their sum of values, for the half of the sequence that came before."""
    return 4 * shape.layers * shape.attention_width * width / 2
