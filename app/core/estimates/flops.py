"""Floating-point operations per token, in training and in an evaluation.

A product with a matrix of n elements costs 2n per token. Frozen matrices need no weight gradient:
4n in all, 6n if activation checkpointing repeats the forward pass. An adapter's matrices cost 2n
more for theirs.
"""

from app.core.estimates.shape import ModelShape
from app.core.jobs.spec import JobSpec


def training_flops(shape: ModelShape, spec: JobSpec, width: int) -> float:
    """FLOPs per token of training, in a sequence of `width` tokens."""
    again = 1 if spec.training.gradient_checkpointing else 0
    adapter = shape.adapter_parameters(spec.lora)
    matrices = (4 + 2 * again) * shape.in_linear + (6 + 2 * again) * adapter
    # TRL's loss computes each tile of logits twice, checkpointing or not.
    head = 6 * shape.vocab * shape.hidden
    # A fused kernel's backward pass costs 2.5 forward passes (Dao 2023, "FlashAttention-2").
    attention = (3.5 + again) * attention_flops(shape, width)
    return matrices + head + attention


def forward_flops(shape: ModelShape, spec: JobSpec, width: int) -> float:
    matrices = shape.in_linear + shape.adapter_parameters(spec.lora) + shape.vocab * shape.hidden
    return 2 * matrices + attention_flops(shape, width)


def attention_flops(shape: ModelShape, width: int) -> float:
    """FLOPs per token of scores and weighted values, over the preceding half of the sequence."""
    return 4 * shape.layers * shape.attention_width * width / 2
