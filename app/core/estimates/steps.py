"""Number of optimizer steps of a layout, computed as the Trainer does (transformers 5.23)."""

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


def count(num_sequences: int, training: TrainingSpec) -> Steps:
    batches = math.ceil(num_sequences / training.per_device_train_batch_size)
    per_epoch = max(math.ceil(batches / training.gradient_accumulation_steps), 1)
    total = training.max_steps or math.ceil(float(training.num_train_epochs) * per_epoch)
    return Steps(per_epoch, total)
