"""The trainer's learning rates are the planned ones, and a job that trained nothing fails."""

import pytest
import torch
from transformers import get_scheduler

from app.core.estimates.schedule import at_step, learning_rates, warmup_steps
from app.core.jobs.protocol import ExitCode
from app.core.jobs.spec import TrainingSpec
from tests.training.bench import sum_rows


@pytest.mark.parametrize(
    "kind", ["linear", "cosine", "constant", "constant_with_warmup", "polynomial"]
)
@pytest.mark.parametrize(("total", "share"), [(1, 0.1), (7, 0.5), (40, 0.1), (40, 0)])
def test_planned_learning_rates_are_those_of_transformers(kind, total, share):
    training = TrainingSpec(lr_scheduler_type=kind, warmup_ratio=share)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=training.learning_rate)
    scheduler = get_scheduler(kind, optimizer, warmup_steps(total, training), total)
    for step in range(total):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(at_step(step, total, training))
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("steps", [1, 2, 11])
def test_a_job_of_few_steps_trains_in_all_but_the_warm_up(bench, steps):
    plan = bench.plan(sum_rows(8), training={"max_steps": steps, "save_strategy": "no"})

    outcome = bench.run(plan)

    assert outcome.status == 0, outcome.of("error")
    rates = outcome.logged("learning_rate")
    planned = learning_rates(steps, plan.spec.training)
    assert len(rates) == steps
    assert (rates[0], rates[-1]) == pytest.approx((planned.first, planned.last))
    assert max(rates) == pytest.approx(planned.highest)
    assert not [each for each in outcome.of("warning") if each["code"] == "effect_not_visible"]


def test_a_job_that_trained_nothing_is_not_proven(bench):
    # Below the smallest number that a weight in fp32 can differ from 0 by.
    training = {"max_steps": 2, "learning_rate": 1e-46, "save_strategy": "no"}

    outcome = bench.run(bench.plan(sum_rows(8), training=training))

    [failure] = outcome.of("error")
    assert (failure["class"], failure["code"]) == ("user", "nothing_trained")
    assert "learning_rate" in failure["hint"]
    assert outcome.status == ExitCode.USER
    assert not (outcome.run_dir / "artifact").exists()


def test_a_change_too_small_to_be_seen_is_a_warning(bench):
    training = {"max_steps": 2, "learning_rate": 1e-20, "save_strategy": "no"}

    outcome = bench.run(bench.plan(sum_rows(8), training=training))

    assert outcome.status == 0, outcome.of("error")
    assert "effect_not_visible" in [each["code"] for each in outcome.of("warning")]
