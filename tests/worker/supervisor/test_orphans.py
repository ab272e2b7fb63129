"""Which runs are nobody's any more: only those of this machine whose supervisor is dead."""

import json
from pathlib import Path

import pytest

from worker.supervisor import orphans

DEAD = {"supervisor_ticks": 1}


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [({}, True), (DEAD, False), (DEAD | {"host": "another"}, True)],
    ids=["supervised", "dead", "another machine"],
)
def test_a_run_of_another_machine_is_left_alone(
    tmp_path: Path, changes: dict[str, object], is_kept: bool
) -> None:
    """On a disk that several machines share, a pid says nothing about theirs."""
    run_dir = tmp_path / "job_x" / "1"
    run_dir.mkdir(parents=True)
    orphans.note_run(run_dir)
    note = run_dir / "process.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), **changes}))

    assert orphans.sweep(tmp_path) == 0

    assert note.exists() == is_kept
