"""Where a new attempt may go on from: the checkpoints earlier epochs of the job left behind."""

from pathlib import Path

COMMIT = "COMMIT.json"


def folders(job_dir: Path, epoch: int) -> list[Path]:
    """`checkpoints` folders of earlier epochs with at least one committed, newest epoch first.

    The trainer verifies the hashes and takes the newest that holds; a broken one is its to refuse.
    """
    earlier = sorted(
        (int(path.name) for path in job_dir.glob("[0-9]*") if path.name.isdigit()), reverse=True
    )
    found = [job_dir / str(number) / "checkpoints" for number in earlier if number < epoch]
    return [folder for folder in found if any(folder.glob(f"checkpoint-*/{COMMIT}"))]


def newest_step(folders: list[Path]) -> int | None:
    """The step of the newest committed checkpoint, whether or not its hashes hold."""
    steps = [
        int(commit.parent.name.rpartition("-")[2])
        for folder in folders
        for commit in folder.glob(f"checkpoint-*[0-9]/{COMMIT}")
    ]
    return max(steps, default=None)
