"""The most disk space a job takes while it runs, in bytes."""

from dataclasses import dataclass, fields
from math import ceil

from app.core.estimates.memory import optimizer_bytes
from app.core.estimates.shape import ModelShape
from app.core.jobs.spec import JobSpec

_HEADER = 160
"""Bytes per tensor in a safetensors header, or per optimizer entry: its name and offsets."""
_SMALL_FILES = 60_000
"""Configuration, model card, manifest, random states, scheduler."""
_LOGGED_STEP = 700
"""Bytes per logged step in trainer_state.json, indented; measured 640 to 690."""


@dataclass(frozen=True)
class Disk:
    checkpoints: int
    """Those retained and the one being written: it is complete before the oldest is deleted."""
    artifact: int
    """Three copies: in the run directory, and in the store both as files and as an archive."""
    rows: int
    """The job's copy of its dataset."""
    base: int
    """Downloaded from the hub; 0 for a base model that is on this machine."""
    log: int

    @property
    def total_bytes(self) -> int:
        return sum(getattr(self, each.name) for each in fields(self))


def estimate(
    shape: ModelShape,
    spec: JobSpec,
    *,
    steps: int,
    rows_bytes: int,
    tokenizer_bytes: int = 0,
    fetched_bytes: int = 0,
    max_log_bytes: int = 64 << 20,
) -> Disk:
    state = _LOGGED_STEP * (steps // spec.training.logging_steps + 1)
    held = min(_written(spec, steps), spec.training.save_total_limit + 1)
    artifact = adapter_bytes(shape, spec) + tokenizer_bytes + state + _SMALL_FILES
    return Disk(
        checkpoints=held * (checkpoint_bytes(shape, spec) + tokenizer_bytes + state),
        artifact=3 * artifact,
        rows=rows_bytes,
        base=fetched_bytes,
        log=max_log_bytes,
    )


def _written(spec: JobSpec, steps: int) -> int:
    """The most checkpoints the whole job can write."""
    training = spec.training
    if training.save_strategy == "no":
        return 0
    if training.save_steps:
        return ceil(steps / training.save_steps)
    return steps if training.max_steps else min(steps, ceil(training.num_train_epochs))


def adapter_bytes(shape: ModelShape, spec: JobSpec) -> int:
    tensors = (3 if spec.lora.use_dora else 2) * len(shape.targets(spec.lora))
    return 4 * shape.adapter_parameters(spec.lora) + _HEADER * tensors


def checkpoint_bytes(shape: ModelShape, spec: JobSpec) -> int:
    """Bytes of a checkpoint without the tokenizer's files and trainer_state.json."""
    tensors = 2 * len(shape.targets(spec.lora))
    states = optimizer_bytes(shape, spec) + 4 * _HEADER * tensors
    adapters = 2 if spec.ships_best else 1
    return adapters * adapter_bytes(shape, spec) + states + _SMALL_FILES
