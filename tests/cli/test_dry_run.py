"""`tunesmith submit --dry-run`: readable output for people, an exit status for scripts."""

import json
from typing import Any

import pytest

PLAN: dict[str, Any] = {
    "spec": {"model": "tiny", "training": {"per_device_train_batch_size": 4}},
    "dataset": {
        "id": "ds_1", "rows": 1480, "skipped_rows": 2, "trained_rows": 1456, "tokens": 90_000,
        "trained_tokens": 60_000, "truncated_rows": 0, "dropped_rows": 0, "eos_lost_rows": 0,
        "split_rows": 3, "unlike_prompt_rows": 0, "duplicate_rows": 0, "tokens_lost": 5,
        "sequences": 119, "packed_sequences": 119, "widest_sequence": 256,
        "widest_batch_tokens": 1024,
    },
    "validation": {"id": None, "rows": 24},
    "steps": 90,
    "steps_per_epoch": 30,
    "rows_per_step": 15.2,
    "learning_rate": {"first": 0.0, "highest": 2e-3, "last": 2.5e-5},
    "memory": {
        "weights": 3 << 30, "adapter": 1 << 20, "gradients": 1 << 20, "optimizer": 2 << 20,
        "activations": 5 << 20, "logits": 0, "rows": 1, "proof": 0, "runtime": 1, "device": "cpu",
        "peak_bytes": 4 << 30, "fits": {"8 GB GPU": "tight"},
    },
    "disk_bytes": 3 << 20,
    "seconds": {"estimate": 130.0, "basis": "2 jobs like it"},
    "warnings": [
        {"pointer": "/lora/r", "code": "rank_above_default", "message": "High.", "hint": "Lower."}
    ],
}  # fmt: skip


@pytest.fixture
def submit(tunesmith, site, tmp_path):
    (tmp_path / "spec.json").write_text('{"model": "m", "dataset": "d"}')

    def run(answer: object, status: int = 200):
        site.answer("/jobs?dry_run=true", answer, status=status)
        return tunesmith("submit", "spec.json", "--dry-run", "--url", site.url)

    return run


def test_a_plan_is_shown_with_its_warnings(submit):
    done = submit(PLAN)

    assert done.returncode == 0, done.stderr
    for part in (
        "Dry run of tiny on ds_1",
        "1,480, trained 1,456 (2 skipped, 3 split)",
        "90, 30 per epoch",
        "4.0 GiB peak on cpu: weights 3.0 GiB",
        "tight on   8 GB GPU",
        "about 2 min (2 jobs like it)",
        "warning: lora.r: High.",
        "hint: Lower.",
    ):
        assert part in done.stdout


def test_what_is_not_known_yet_is_shown_as_such(submit):
    unknown = {**PLAN, "memory": None, "steps": None, "steps_per_epoch": None, "disk_bytes": None}
    unknown |= {"rows_per_step": None, "learning_rate": None}
    rows = dict.fromkeys(PLAN["dataset"]) | {"id": "ds_1", "rows": 4, "skipped_rows": 0}

    done = submit({**unknown, "dataset": rows, "seconds": {"estimate": None, "basis": "No files."}})

    assert done.returncode == 0, done.stderr
    assert "unknown (No files.)" in done.stdout


def test_a_job_that_does_not_fit_would_not_work(submit):
    short = {"pointer": "/training", "code": "memory_short", "message": "Too big.", "hint": "Half."}

    done = submit({**PLAN, "warnings": [short]})

    assert done.returncode == 1
    assert "4.0 GiB" in done.stdout
    assert "Too big." in done.stderr


def test_a_job_that_would_fail_is_told_like_any_refusal(submit):
    error = {
        "pointer": "/training/max_length",
        "code": "prompt_too_long",
        "message": "Row 3 is long.",
        "hint": "Raise it.",
    }
    problem = {"title": "Invalid", "detail": "It would fail.", "code": "prompt_too_long"}

    done = submit({**problem, "errors": [error]}, 422)

    assert done.returncode == 1
    assert json.dumps("Row 3 is long.")[1:-1] in done.stderr
