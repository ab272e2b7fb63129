"""The card's code snippet must run as it is, or say what to replace."""

import pytest

from app.core.jobs.protocol import Base
from tests.training.bench import PUBLIC_ID, Bench
from worker.training.card import model_card
from worker.training.trainer import Tally


class State:
    global_step = 1
    log_history = ()


@pytest.mark.parametrize(
    ("base", "named", "is_explained"),
    [(PUBLIC_ID, PUBLIC_ID, False), ("tiny", "path/to/tiny", True)],
)
def test_a_base_is_named_so_that_it_can_be_loaded(bench: Bench, base, named, is_explained):
    plan = bench.plan().model_copy(update={"base": Base(path="/elsewhere", id=base)})

    card = model_card(plan, State(), Tally(), speaks=True)

    assert f'from_pretrained("{named}")' in card
    assert ("a folder of the server's `MODELS_DIR`" in card) == is_explained
    assert f"# LoRA adapter for {base}" in card
    assert "```\n\nThe " in card
