"""Learning rates of a job's steps, compared with transformers over many schedules."""

import pytest

from app.core.estimates.schedule import at_step, learning_rates, warmup_steps
from app.core.jobs.spec import TrainingSpec

TYPES = ("linear", "cosine", "constant", "constant_with_warmup", "polynomial")
SHARES = (0, 0.03, 0.1, 0.29, 0.5, 0.99)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("share", SHARES)
def test_every_schedule_has_a_step_with_the_full_learning_rate(kind, share):
    training = TrainingSpec(lr_scheduler_type=kind, warmup_ratio=share)
    for total in range(1, 120):
        rates = [at_step(step, total, training) for step in range(total)]

        assert max(rates) == pytest.approx(2e-4, rel=1e-9)
        assert rates[warmup_steps(total, training)] == max(rates)
        assert rates[-1] > 0
        told = learning_rates(total, training)
        assert (told.first, told.highest, told.last) == (rates[0], max(rates), rates[-1])


@pytest.mark.parametrize(
    ("total", "share", "expected"),
    [
        (1, 0.1, 0),
        (1, 0.99, 0),
        (9, 0.1, 0),
        (10, 0.1, 1),
        (19, 0.1, 1),
        (100, 0.29, 29),
        (3, 0.5, 1),
    ],
)
def test_a_share_is_rounded_down(total, share, expected):
    assert warmup_steps(total, TrainingSpec(warmup_ratio=share)) == expected


def test_constant_has_no_warm_up():
    training = TrainingSpec(lr_scheduler_type="constant", warmup_ratio=0.5)

    assert warmup_steps(100, training) == 0
    assert learning_rates(100, training).first == 2e-4
