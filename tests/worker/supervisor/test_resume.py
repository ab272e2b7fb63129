"""Which checkpoints of earlier epochs a new attempt is offered."""

from pathlib import Path

from worker.supervisor.resume import COMMIT, folders


def make_checkpoint(job_dir: Path, epoch: str, *, is_committed: bool = True) -> None:
    path = job_dir / epoch / "checkpoints" / "checkpoint-7"
    path.mkdir(parents=True)
    (path / (COMMIT if is_committed else "state.json")).write_text("{}")


def test_folders_of_earlier_epochs_are_named_newest_first(tmp_path: Path) -> None:
    """By number: 10 comes after 9. Those without a committed checkpoint have nothing to offer."""
    for epoch in ("2", "9", "10", "12", "13", "3.old"):
        make_checkpoint(tmp_path, epoch)
    make_checkpoint(tmp_path, "11", is_committed=False)

    assert folders(tmp_path, 12) == [tmp_path / str(n) / "checkpoints" for n in (10, 9, 2)]
