import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from worker.training import checkpoints
from worker.training.checkpoints import COMMIT


def save(folder: Path, step: int, *, committed: bool = True, **changes: Any) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "adapter_model.safetensors").write_bytes(bytes(range(200)) * step)
    (path / "optimizer.pt").write_bytes(b"state" * step)
    (path / "training_args.bin").write_bytes(b"a pickle")
    if committed:
        checkpoints.commit(path, step=step, epoch=step / 10, fingerprint="same", **changes)
    return path


def found_step(folder: Path) -> int | None:
    found, _ = checkpoints.newest([folder], "same")
    return found.step if found else None


def test_the_newest_committed_checkpoint_of_all_folders_is_found(tmp_path):
    save(tmp_path / "first", 9, tally={"tokens_seen": 3})
    save(tmp_path / "second", 10, tally={"tokens_seen": 4})

    found, rejected = checkpoints.newest(
        [tmp_path / "second", tmp_path / "first", tmp_path / "none"], "same"
    )

    assert found is not None
    assert found.step == 10  # by number, not by name
    assert found.commit["tally"] == {"tokens_seen": 4}
    assert rejected == []


def test_a_commit_names_every_file_and_leaves_no_pickle_behind(tmp_path):
    path = save(tmp_path, 1)

    content = json.loads((path / COMMIT).read_text())
    assert content["files"].keys() == {"adapter_model.safetensors", "optimizer.pt"}
    assert content["step"] == 1
    assert "torch" in content["versions"]
    assert {each.name for each in path.iterdir()} == {*content["files"], COMMIT}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", COMMIT])
def test_a_broken_newest_checkpoint_falls_back_to_the_one_before(tmp_path, harm, name):
    save(tmp_path, 1)
    harm(save(tmp_path, 2) / name)

    found, rejected = checkpoints.newest([tmp_path], "same")

    assert found is not None
    assert found.step == 1
    names = [each.path.name for each in rejected]
    # Without its manifest it was never reported, so there is nothing to report now either.
    assert names == ([] if (name, harm) == (COMMIT, Path.unlink) else ["checkpoint-2"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3, "versions": {}}', "\x00"])
def test_a_manifest_that_is_no_manifest_is_rejected_not_a_crash(tmp_path, text):
    (save(tmp_path, 1) / COMMIT).write_text(text)

    found, rejected = checkpoints.newest([tmp_path], "same")

    assert found is None
    assert len(rejected) == 1


def test_a_kill_at_any_point_of_a_save_leaves_the_one_before(tmp_path):
    save(tmp_path, 1)
    complete = save(tmp_path, 2)
    names = sorted(each.name for each in complete.iterdir() if each.name != COMMIT)
    for count in range(len(names) + 1):
        partial = tmp_path / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(tmp_path / "checkpoint-1", partial / "checkpoint-1")
        (partial / "checkpoint-2").mkdir()
        for name in names[:count]:
            shutil.copy(complete / name, partial / "checkpoint-2")
        (partial / "checkpoint-2" / f"{COMMIT}.tmp").write_text("{")

        assert found_step(partial) == 1
        checkpoints.sweep(partial)
        assert [each.name for each in partial.iterdir()] == ["checkpoint-1"]


def test_one_made_for_something_else_is_rejected(tmp_path):
    save(tmp_path, 1)

    found, rejected = checkpoints.newest([tmp_path], "other")

    assert found is None
    assert "a different spec" in rejected[0].reason


def test_a_run_whose_newest_checkpoint_broke_goes_on_from_the_one_before_and_says_so(bench):
    plan = bench.plan(training={"num_train_epochs": 3})
    whole = bench.run(plan)
    folder = whole.run_dir / "checkpoints"
    newest = max(folder.iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    flip(newest / "optimizer.pt")

    resumed = bench.run(plan.model_copy(update={"resume_from": [str(folder)]}))

    assert resumed.status == 0
    assert resumed.warnings == ["checkpoint_rejected"]
    assert resumed.adapter == whole.adapter
