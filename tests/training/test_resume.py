"""A run stopped anywhere and resumed ends with the bytes of a run that was never stopped."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.bench import Bench, Outcome, start_trainer, sum_rows

# Dropout, accumulation that does not divide an epoch, evaluation and NEFTune noise: everything that
# draws random numbers or spans steps.
HARD = {
    "num_train_epochs": 3,
    "gradient_accumulation_steps": 2,
    "per_device_train_batch_size": 1,
    "eval_steps": 2,
    "neftune_noise_alpha": 5.0,
    "lr_scheduler_type": "cosine",
    "save_strategy": "steps",
    "save_steps": 1,
    "save_total_limit": 100,
}


def hard_plan(bench: Bench, **changes: Any) -> Any:
    training = HARD | changes.pop("training", {})
    return bench.plan(
        sum_rows(16),
        validation={"fraction": 0.2},
        lora={"r": 4, "lora_dropout": 0.2},
        training=training,
        **changes,
    )


@pytest.fixture(scope="module")
def whole(shared_bench: Bench) -> Outcome:
    outcome = shared_bench.run(hard_plan(shared_bench))
    assert outcome.status == 0
    return outcome


def checkpoints_of(outcome: Outcome) -> list[Path]:
    found = (outcome.run_dir / "checkpoints").iterdir()
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def only(tmp_path: Path, checkpoint: Path) -> Path:
    """A `checkpoints` folder with only this checkpoint."""
    folder = tmp_path / "earlier" / checkpoint.parent.name
    folder.mkdir(parents=True)
    (folder / checkpoint.name).symlink_to(checkpoint)
    return folder


@pytest.mark.parametrize("at", [0, 1, 2, 3, 5, -2, -1])
def test_a_run_resumed_from_any_checkpoint_ends_with_the_same_adapter(bench, whole, tmp_path, at):
    checkpoint = checkpoints_of(whole)[at]
    plan = hard_plan(bench, resume_from=[str(only(tmp_path, checkpoint))])

    resumed = bench.run(plan)

    assert resumed.status == 0
    assert resumed.adapter == whole.adapter
    steps = [each["step"] for each in resumed.of("metrics")]
    step = int(checkpoint.name.rpartition("-")[2])
    assert steps == [each["step"] for each in whole.of("metrics")][step:]
    # Counts over the whole job continue.
    assert resumed.of("artifact")[0]["trained_tokens"] == whole.of("artifact")[0]["trained_tokens"]
    tables = [
        (each.run_dir / "artifact" / "metrics.csv").read_text().splitlines()
        for each in (resumed, whole)
    ]
    assert len(tables[0]) == len(tables[1])


def test_a_run_with_another_seed_ends_with_another_adapter(bench, whole):
    other = bench.run(hard_plan(bench, training={"seed": 7}))

    assert other.adapter != whole.adapter


def test_a_killed_process_resumes_by_hand_in_its_own_run_directory(bench, whole):
    run_dir = bench.run_dir(hard_plan(bench))
    process = start_trainer(run_dir)
    deadline = time.monotonic() + 60
    while not list(run_dir.glob("checkpoints/checkpoint-3/COMMIT.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (run_dir / "artifact").exists()

    resumed = bench.run(hard_plan(bench), run_dir)

    assert resumed.status == 0
    assert resumed.adapter == whole.adapter


def test_a_checkpoint_of_another_spec_is_not_gone_on_from(bench, whole, tmp_path):
    folder = only(tmp_path, checkpoints_of(whole)[-1])

    outcome = bench.run(hard_plan(bench, training={"seed": 7}, resume_from=[str(folder)]))

    assert outcome.warnings == ["checkpoint_rejected"]
    assert outcome.of("metrics")[0]["step"] == 1


def test_a_checkpoint_of_other_library_versions_means_a_fresh_start(bench, whole, tmp_path):
    import shutil

    folder = tmp_path / "earlier"
    shutil.copytree(checkpoints_of(whole)[-1], folder / checkpoints_of(whole)[-1].name)
    commit = next(folder.glob("*/COMMIT.json"))
    content = json.loads(commit.read_text())
    content["versions"]["torch"] = "1.0"
    commit.write_text(json.dumps(content))

    outcome = bench.run(hard_plan(bench, resume_from=[str(folder)]))

    assert outcome.status == 0
    assert outcome.warnings == ["checkpoint_rejected"]
    (message,) = [
        each["message"]
        for each in outcome.reports
        if each["data"].get("code") == "checkpoint_rejected"
    ]
    assert "torch" in message
    assert outcome.adapter == whole.adapter
