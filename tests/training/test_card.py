"""The card's code snippet must run as it is, or say what to replace; its figures are the run's."""

import pytest
import yaml

from app.core.jobs.protocol import Base
from tests.training.bench import PUBLIC_ID, Bench
from worker.training.best import Shipped
from worker.training.card import INSTRUCTION, model_card
from worker.training.export import prompt_template
from worker.training.model import load_tokenizer
from worker.training.trainer import Tally

COMMIT = "c" * 40
SHIPPED = Shipped(50, "best", "Step 50 of 66 has the lowest validation loss, 0.2500.", "deadline")


class State:
    global_step = 66
    max_steps = 99
    log_history = (
        {"step": 1, "train_loss": 6.5},
        {"step": 33, "eval_loss": 0.5, "eval_mean_token_accuracy": 0.8},
        {"step": 50, "eval_loss": 0.25, "eval_mean_token_accuracy": 0.9},
        {"step": 66, "train_loss": 0.125},
        {"step": 66, "eval_loss": 0.375, "eval_mean_token_accuracy": 0.85},
    )


def card_of(plan, tokenizer, **base):
    plan = plan.model_copy(update={"base": Base(path="/elsewhere", **base)})
    return model_card(plan, State(), Tally(), tokenizer, shipped=SHIPPED, speaks=True)


@pytest.mark.parametrize(
    ("base", "call", "is_explained"),
    [
        ({"id": PUBLIC_ID}, f'"{PUBLIC_ID}"', False),
        ({"id": PUBLIC_ID, "revision": COMMIT}, f'"{PUBLIC_ID}", revision="{COMMIT}"', False),
        ({"id": "tiny"}, '"path/to/tiny"', True),
        ({"id": "tiny", "hub_id": PUBLIC_ID}, f'"{PUBLIC_ID}"', False),
        (
            {"id": "tiny", "hub_id": PUBLIC_ID, "hub_revision": COMMIT},
            f'"{PUBLIC_ID}", revision="{COMMIT}"',
            False,
        ),
    ],
)
def test_a_base_is_named_so_that_it_can_be_loaded(
    bench: Bench, tokenizer, base, call, is_explained
):
    card = card_of(bench.plan(), tokenizer, **base)

    assert f"AutoModelForCausalLM.from_pretrained({call})" in card
    assert ("a folder of the server's `MODELS_DIR`" in card) == is_explained
    assert f"# LoRA adapter for {base.get('hub_id', base['id'])}" in card
    assert yaml.safe_load(card.split("---")[1])["base_model"] == base.get("hub_id", base["id"])
    assert "/elsewhere" not in card


def test_the_card_holds_what_a_reader_needs(bench: Bench, tokenizer):
    plan = bench.plan(training={"learning_rate": 0.0025}, validation={"fraction": 0.25})

    card = card_of(plan, tokenizer, id="tiny", hub_id=PUBLIC_ID, hub_revision=COMMIT)

    for part in (
        f"| base model | `{PUBLIC_ID}` at commit `{COMMIT}` |",
        f"| tokenizer | `{type(tokenizer).__name__}` of the base, {len(tokenizer):,} tokens |",
        "| template | `alpaca`, SHA-256 `",
        "This is the adapter of step 50. Step 50 of 66 has the lowest validation loss, 0.2500.",
        "Training stopped at the job's time limit",
        "| step | 50 of 99 |",
        "| training loss | 6.5000 (step 1) | 0.1250 (step 66) | 0.1250 (step 66) |",
        "| validation loss | 0.5000 (step 33) | 0.3750 (step 66) | 0.2500 (step 50) |",
        "| 0.8000 (step 33) | 0.8500 (step 66) | 0.9000 (step 50) |",
        "| `learning_rate` | `0.0025` |",
        "| `r` | `16` |",
        "| `quantization` | `none` |",
        f"SHA-256 `{plan.rows.sha256}`",
        "a share of 0.25 was held out",
    ):
        assert part in card


def test_the_prompt_to_copy_is_the_one_used_in_training(bench: Bench, tokenizer):
    plan = bench.plan()

    card = card_of(plan, tokenizer, id="tiny")

    copied = card.split("```text\n")[1].split("\n```")[0]
    without_input = prompt_template(plan)["without_input"]
    assert copied == without_input.replace("{instruction}", INSTRUCTION)


@pytest.mark.parametrize("template", ["chatml", "zephyr", "text"])
def test_every_template_has_a_prompt_to_copy(bench: Bench, template):
    plan = bench.plan(template=template, train_on="all" if template == "text" else "completion")

    card = card_of(plan, load_tokenizer(plan), id="tiny")

    copied = card.split("```text\n")[1].split("\n```")[0]
    assert INSTRUCTION in copied
    assert ("<|" in copied) == (template != "text")
