"""Number of optimizer steps, computed from rows as the Trainer does (transformers 5.23)."""

import math
from dataclasses import dataclass

from app.core.jobs.spec import TrainingSpec


@dataclass(frozen=True)
class Steps:
    per_epoch: int
    total: int
    """Steps of the whole job; fewer are done if training stops early."""

    @property
    def epochs(self) -> float:
        return self.total / self.per_epoch


def rows_per_step(training: TrainingSpec) -> int:
    """Rows of an optimizer step, however they lie in memory; the last of a pass may have fewer."""
    return training.per_device_train_batch_size * training.gradient_accumulation_steps


def count(num_rows: int, training: TrainingSpec) -> Steps:
    batches = math.ceil(num_rows / training.per_device_train_batch_size)
    per_epoch = max(math.ceil(batches / training.gradient_accumulation_steps), 1)
    total = training.max_steps or math.ceil(float(training.num_train_epochs) * per_epoch)
    return Steps(per_epoch, total)
