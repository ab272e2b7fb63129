"""Where a new attempt may go on from: the checkpoints earlier epochs of the job left behind."""

import json
from dataclasses import dataclass
from pathlib import Path

COMMIT = "COMMIT.json"


@dataclass(frozen=True)
class Found:
    """A committed checkpoint on this disk, whether or not its hashes hold."""

    run_epoch: int
    step: int
    train_epoch: float
    num_bytes: int


def folders(job_dir: Path, epoch: int) -> list[Path]:
    """`checkpoints` folders of earlier epochs with at least one committed, newest epoch first.

    The trainer verifies the hashes and takes the newest that holds; a broken one is its to refuse.
    """
    earlier = sorted(
        (int(path.name) for path in job_dir.glob("[0-9]*") if path.name.isdigit()), reverse=True
    )
    found = [job_dir / str(number) / "checkpoints" for number in earlier if number < epoch]
    return [folder for folder in found if any(folder.glob(f"checkpoint-*/{COMMIT}"))]


def committed(folder: Path) -> list[Found]:
    """Those of one epoch's `checkpoints` folder, by step."""
    run_epoch = int(folder.parent.name)
    found = []
    for path in folder.glob(f"checkpoint-*[0-9]/{COMMIT}"):
        step = int(path.parent.name.rpartition("-")[2])
        num_bytes = sum(each.stat().st_size for each in path.parent.rglob("*") if each.is_file())
        found.append(Found(run_epoch, step, _train_epoch(path), num_bytes))
    return sorted(found, key=lambda each: each.step)


def _train_epoch(commit: Path) -> float:
    try:
        return float(json.loads(commit.read_text()).get("epoch", 0))
    except (OSError, ValueError, TypeError, AttributeError):
        return 0.0
