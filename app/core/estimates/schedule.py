"""The learning rate of each optimizer step, as the Trainer's schedulers set it (transformers 5.23).

One difference: a warm-up given as a share is rounded down. The Trainer rounds it up and starts at
0, so that a job of one step would train nothing.
"""

import math
from dataclasses import dataclass

from app.core.jobs.spec import TrainingSpec

POLYNOMIAL_END = 1e-7
"""The learning rate at which transformers' `polynomial` ends; it must start above it."""


@dataclass(frozen=True)
class LearningRates:
    first: float
    highest: float
    last: float


def warmup_steps(total: int, training: TrainingSpec) -> int:
    """Always fewer than `total`: at least one step has the full learning rate."""
    if training.lr_scheduler_type == "constant":
        return 0
    # A product that should be whole may fall just below: 0.29 * 100 is 28.999999999999996.
    return math.floor(total * training.warmup_ratio + 1e-9)


def learning_rates(total: int, training: TrainingSpec) -> LearningRates:
    """Return the learning rates of a job of `total` steps."""
    return LearningRates(
        first=at_step(0, total, training),
        highest=training.learning_rate,
        last=at_step(total - 1, total, training),
    )


def at_step(step: int, total: int, training: TrainingSpec) -> float:
    """`step`: 0-based."""
    warmup, highest = warmup_steps(total, training), training.learning_rate
    if step < warmup:
        return highest * step / warmup
    left = (total - step) / (total - warmup)
    if training.lr_scheduler_type == "linear":
        return highest * left
    if training.lr_scheduler_type == "cosine":
        return highest * 0.5 * (1 + math.cos(math.pi * (1 - left)))
    if training.lr_scheduler_type == "polynomial":
        return (highest - POLYNOMIAL_END) * left + POLYNOMIAL_END
    return highest
