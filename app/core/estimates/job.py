"""All estimates of one job, from the figures of its layout: memory, disk and time."""

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from app.core.datasets.layout.figures import LayoutFigures
from app.core.estimates import devices, disk, memory, steps
from app.core.estimates.devices import DeviceClass, Verdict
from app.core.estimates.disk import Disk
from app.core.estimates.memory import Memory
from app.core.estimates.needs import Needs
from app.core.estimates.precision import Device
from app.core.estimates.shape import ModelShape, Unknown, read_shape
from app.core.estimates.steps import Steps
from app.core.estimates.time import Work
from app.core.jobs.spec import JobSpec

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class Estimates:
    shape: ModelShape
    spec: JobSpec
    laid: LayoutFigures
    folder: Path
    rows_bytes: int

    @property
    def steps(self) -> Steps:
        return steps_of(self.spec, self.laid)

    def memory(self, device: Device) -> Memory:
        parts = [each for each in (self.laid.train, self.laid.held_out) if each]
        largest = max(parts, key=lambda each: each.batch_sequences * each.batch_width)
        return memory.estimate(
            self.shape,
            self.spec,
            largest.batch_width,
            device,
            sequences=largest.batch_sequences,
            num_tokens=sum(each.tokens for each in parts),
        )

    def fits(self) -> dict[str, Verdict]:
        """Return verdicts by device class."""
        return devices.fits({"cpu": self.memory("cpu"), "cuda": self.memory("cuda")})

    def disk(self) -> Disk:
        files = [self.folder / name for name in _TOKENIZER]
        return disk.estimate(
            self.shape,
            self.spec,
            steps=self.steps.total,
            rows_bytes=self.rows_bytes,
            tokenizer_bytes=sum(each.stat().st_size for each in files if each.is_file()),
        )

    def work(self) -> Work:
        train, held_out, epochs = self.laid.train, self.laid.held_out, self.steps.epochs
        evaluations = _evaluations(self.spec, self.steps) if held_out else 0
        return Work(
            tokens=round(train.tokens * epochs),
            computed=round(train.padded_tokens * epochs),
            steps=self.steps.total,
            width=round(train.tokens / train.trained_rows),
            eval_tokens=evaluations * held_out.tokens if held_out else 0,
            checkpoints=_checkpoints(self.spec, self.steps),
        )


def steps_of(spec: JobSpec, laid: LayoutFigures) -> Steps:
    return steps.count(laid.train.trained_rows, spec.training)


def read_estimates(
    folder: Path, spec: JobSpec, laid: LayoutFigures, rows_bytes: int
) -> Estimates | Unknown:
    """`rows_bytes`: size of the canonical rows, including held-out ones."""
    shape = read_shape(folder)
    return shape if isinstance(shape, Unknown) else Estimates(shape, spec, laid, folder, rows_bytes)


def needs_of(found: Estimates | Unknown, on: DeviceClass | None, at: Path) -> Needs:
    """Compare the estimates with a device, and with the disk on which `at` is or will be."""
    if isinstance(found, Unknown):
        return Needs(unknown=found.reason)
    while not at.exists():
        at = at.parent
    disk_bytes = found.disk().total_bytes
    disk_needs = Needs(disk_bytes=disk_bytes, free_bytes=shutil.disk_usage(at).free)
    if on is None:
        return disk_needs
    peak = found.memory(on.device)
    verdict = devices.verdict(peak, on)
    return replace(disk_needs, peak_bytes=peak.peak_bytes, device=on.name, verdict=verdict)


def _evaluations(spec: JobSpec, taken: Steps) -> int:
    """Number of evaluations: every `eval_steps` or each epoch, and after the last step."""
    every = spec.training.eval_steps or taken.per_epoch
    return math.ceil(taken.total / every)


def _checkpoints(spec: JobSpec, taken: Steps) -> int:
    if spec.training.save_strategy == "no":
        return 0
    every = spec.training.save_steps or taken.per_epoch
    return math.ceil(taken.total / every)
