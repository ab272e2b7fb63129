"""A job with validation publishes the adapter with the lowest validation loss."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file

from app.core.jobs.spec import JobSpec, TrainingSpec
from tests.training.bench import Bench, Outcome
from worker.training.best import FILE, BestAdapter, choose, lowest
from worker.training.plan import fingerprint

OVERFITS = {
    "learning_rate": 0.05,  # far too high: validation soon gets worse
    "num_train_epochs": 50,
    "early_stopping_patience": 3,
    "save_strategy": "epoch",
    "save_total_limit": 2,
}


def plan_of(bench: Bench, **training: Any) -> Any:
    return bench.plan(validation={"fraction": 0.3}, training=OVERFITS | training)


@pytest.fixture(scope="module")
def stopped(shared_bench: Bench) -> Outcome:
    """Stopped early, when `save_total_limit` has already deleted the best step's checkpoint."""
    outcome = shared_bench.run(plan_of(shared_bench))
    assert outcome.status == 0, outcome.of("error")
    return outcome


def read(outcome: Outcome, name: str) -> Any:
    return json.loads((outcome.run_dir / "artifact" / name).read_text())


def checkpoint(outcome: Outcome, step: int) -> Path:
    return outcome.run_dir / "checkpoints" / f"checkpoint-{step}"


def test_a_job_that_stopped_early_publishes_its_best_adapter_and_says_so(stopped: Outcome):
    evaluated = {each["step"]: each["values"]["valid_loss"] for each in stopped.of("eval")}
    best, last = min(evaluated, key=lambda step: evaluated[step]), max(evaluated)
    (artifact,) = stopped.of("artifact")

    assert best < last
    assert not checkpoint(stopped, best).exists()
    told = (artifact["step"], artifact["chosen"], artifact["stopped_by"])
    assert told == (best, "best", "early_stopping")
    manifest = read(stopped, "manifest.json")["adapter"]
    assert manifest == read(stopped, "training_args.json")["adapter"]
    assert (manifest["step"], manifest["stopped_by"]) == (best, "early_stopping")
    assert manifest["valid_loss"] == evaluated[best]
    card = (stopped.run_dir / "artifact" / "README.md").read_text()
    assert f"This is the adapter of step {best}. {manifest['reason']}" in card
    assert f"{evaluated[best]:.4f} (step {best})" in card
    assert "Training stopped early" in card


def test_the_published_weights_are_those_of_the_best_step(bench: Bench, stopped: Outcome):
    (artifact,) = stopped.of("artifact")
    kept = bench.run(plan_of(bench, save_total_limit=100))
    saved = load_file(checkpoint(kept, artifact["step"]) / "adapter_model.safetensors")

    published = load(stopped.adapter)

    assert kept.adapter == stopped.adapter
    assert saved.keys() == published.keys()
    assert all(torch.equal(saved[name], published[name]) for name in saved)


def test_without_load_best_the_last_adapter_is_published(bench: Bench, stopped: Outcome):
    outcome = bench.run(plan_of(bench, load_best=False))

    steps = [each["step"] for each in outcome.of("eval")]
    (artifact,) = outcome.of("artifact")
    assert (artifact["step"], artifact["chosen"]) == (steps[-1], "last")
    assert artifact["stopped_by"] == "early_stopping"
    assert outcome.adapter != stopped.adapter
    assert not (checkpoint(outcome, steps[-1]) / FILE).exists()


@pytest.mark.parametrize("back", [1, 2])
def test_a_resumed_run_publishes_a_best_step_from_before_it(
    bench: Bench, stopped: Outcome, tmp_path: Path, back: int
):
    """From the last checkpoint only the artifact is missing; from the one before, an epoch."""
    folder = tmp_path / "earlier" / "checkpoints"
    folder.mkdir(parents=True)
    source = sorted((stopped.run_dir / "checkpoints").iterdir(), key=lambda at: int(at.name[11:]))
    (folder / source[-back].name).symlink_to(source[-back])

    plan = plan_of(bench).model_copy(update={"resume_from": [str(folder)]})
    resumed = bench.run(plan)

    assert resumed.status == 0, resumed.of("error")
    assert len(resumed.of("eval")) == back - 1
    assert resumed.adapter == stopped.adapter
    told = [each.of("artifact")[0] for each in (resumed, stopped)]
    assert told[0]["step"] == told[1]["step"]


def test_training_args_holds_every_field_as_resolved(stopped: Outcome):
    args = read(stopped, "training_args.json")
    untrained = {"model", "dataset", "name", "tags", "priority", "sample_prompts"}

    assert TrainingSpec.model_fields.keys() <= args.keys()
    assert JobSpec.model_fields.keys() - untrained - {"training", "limits"} <= args.keys()
    resolved = {
        "load_best": True,
        "precision": "fp32",
        "on_long_row": "split",
        "early_stopping_patience": 3,
        "save_strategy": "epoch",
        "recipe": "default",
        "max_seconds": None,
        "seed": 42,
    }
    assert {name: args[name] for name in resolved} == resolved
    assert args["validation"] == {"fraction": 0.3, "dataset": None}


def test_the_choice_of_a_checkpoint_does_not_decide_whether_a_run_resumes(bench: Bench):
    plan, other = bench.plan(), bench.plan(training={"load_best": False})

    assert fingerprint(plan) == fingerprint(other.model_copy(update={"rows": plan.rows}))


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ([], None),
        ([3.0, 2.0, 2.5], (2, 2.0)),
        ([3.0, 2.0, 2.0], (2, 2.0)),
        ([float("nan"), 2.0, float("-inf")], (2, 2.0)),
        ([float("nan")], None),
    ],
)
def test_the_lowest_is_the_first_of_the_finite_losses(losses: list[float], best: Any):
    history = [{"loss": 0.1, "step": 1}]
    history += [{"eval_loss": loss, "step": at} for at, loss in enumerate(losses, 1)]

    assert lowest(history) == best


class State:
    def __init__(self, losses: list[float], max_steps: int) -> None:
        self.log_history = [{"eval_loss": loss, "step": at} for at, loss in enumerate(losses, 1)]
        self.global_step, self.max_steps = len(losses), max_steps


@pytest.mark.parametrize(
    ("losses", "max_steps", "past", "expected"),
    [
        ([2.0, 1.0], 2, False, (2, "best", None)),
        ([1.0, 2.0], 2, True, (1, "best", None)),
        ([1.0, 2.0], 9, True, (1, "best", "deadline")),
        ([1.0, 2.0, 3.0], 9, False, (1, "best", "early_stopping")),
        ([float("nan")], 9, True, (1, "last", "deadline")),
    ],
)
def test_what_is_published_and_why(losses: list[float], max_steps: int, past: bool, expected: Any):
    training = TrainingSpec(early_stopping_patience=2)
    spec = JobSpec.model_validate(
        {"model": "m", "dataset": "d", "validation": {"fraction": 0.1}, "training": training}
    )
    model = torch.nn.Linear(1, 1)
    best = BestAdapter(model, None)
    if (found := lowest(State(losses, max_steps).log_history)) is not None:
        best.take(found[0])
    with torch.no_grad():
        model.weight.add_(1)
    weight = model.weight.item()

    shipped = choose(spec, best, State(losses, max_steps), is_past_deadline=past)

    assert (shipped.step, shipped.chosen, shipped.stopped_by) == expected
    assert (model.weight.item() != weight) == (shipped.step != len(losses))
