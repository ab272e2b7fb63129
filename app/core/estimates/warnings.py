"""Warnings a user should see before hours are spent: one list, for the dry run and for the job.

Pure: the same facts always give the same warnings, in the same order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.core import licenses
from app.core.datasets.layout.figures import Copies, LayoutFigures
from app.core.errors import Problem
from app.core.estimates import needs, row_warnings, steps
from app.core.estimates.needs import Needs
from app.core.jobs.recipes import RECIPES
from app.core.jobs.spec import JobSpec

_USUAL_RATES = (1e-5, 5e-3)
"""LoRA's best rates are about 1e-4 to 1e-3 for models of 1B and up, higher only for toy models."""
_LARGE_BATCH = 32
"""LoRA tolerates large batches less well than full fine-tuning ("LoRA Without Regret", 2025)."""
_MANY_EPOCHS = 16
"""Beyond about 16 epochs, repeated tokens add next to nothing (Muennighoff et al. 2023,
"Scaling Data-Constrained Language Models", for pretraining)."""
_SERVED_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_SERVED_RANK = 16
"""vLLM's default `--max-lora-rank`; the values it accepts are listed above."""

_NOTHING = Needs()


@dataclass(frozen=True)
class Facts:
    """What the warnings are derived from; None for whatever is unknown."""

    spec: JobSpec
    """The resolved spec."""
    laid: LayoutFigures | None = None
    copies: Copies | None = None
    dataset_license: str | None = None
    base_license: str | None = None
    missing_marks: Sequence[str] = ()
    """Special tokens of the template that are not a single token each."""
    needs: Needs = _NOTHING


def warnings_of(facts: Facts) -> list[Problem]:
    return [
        *_about_recipe(facts.spec),
        *_about_training(facts),
        *_about_rank(facts.spec.lora.r),
        *_about_dora(facts.spec),
        *row_warnings.about_rows(facts.spec, facts.laid, facts.copies),
        *_about_marks(facts.missing_marks),
        *licenses.about("/dataset", "The dataset", facts.dataset_license),
        *licenses.about("/model", "The base", facts.base_license),
        *needs.about(facts.spec, facts.needs),
    ]


def _about_recipe(spec: JobSpec) -> Iterator[Problem]:
    """Yield the recipe's warnings that still apply to the resolved spec."""
    recipe = RECIPES.get(spec.recipe)
    if recipe is None:
        return
    holds = {"Packing": spec.training.packing, "LoRA": spec.lora.target_modules == "all-linear"}
    for text in recipe.warnings:
        if holds.get(text.split()[0], True):
            yield Problem("/recipe", "recipe_departs", text)


def _about_training(facts: Facts) -> Iterator[Problem]:
    training = facts.spec.training
    low, high = _USUAL_RATES
    if not low <= training.learning_rate <= high:
        yield Problem(
            "/training/learning_rate",
            "learning_rate_unusual",
            f"The learning rate {training.learning_rate:g} is far from LoRA's usual {low:g} to "
            f"{high:g}.",
            "2e-4 is a good start.",
        )
    if training.lr_scheduler_type == "constant" and training.warmup_ratio:
        yield Problem(
            "/training/warmup_ratio",
            "warmup_ignored",
            f"`constant` has no warm-up: `warmup_ratio` {training.warmup_ratio:g} has no effect.",
            'Set `lr_scheduler_type` to "constant_with_warmup", or `warmup_ratio` to 0.',
        )
    batch = steps.rows_per_step(training)
    if batch > _LARGE_BATCH:
        yield Problem(
            "/training/per_device_train_batch_size",
            "batch_large",
            f"An optimizer step takes {batch} rows; LoRA learns less well in batches over "
            f"{_LARGE_BATCH}.",
            "Lower `per_device_train_batch_size` or `gradient_accumulation_steps`.",
        )
    epochs: float = training.num_train_epochs
    if facts.laid is not None:
        epochs = steps.count(facts.laid.train.trained_rows, training).epochs
    if epochs > _MANY_EPOCHS:
        at = "max_steps" if training.max_steps else "num_train_epochs"
        yield Problem(
            f"/training/{at}",
            "epochs_many",
            f"The job makes {epochs:.3g} passes over the rows; after about {_MANY_EPOCHS} a model "
            "memorises more than it learns.",
            "Add rows, or train for fewer epochs and watch the validation loss.",
        )


def _about_rank(rank: int) -> Iterator[Problem]:
    if rank > _SERVED_RANK:
        needed = next(each for each in _SERVED_RANKS if each >= rank)
        yield Problem(
            "/lora/r",
            "rank_above_default",
            f"vLLM accepts rank {_SERVED_RANK} by default; this adapter has rank {rank}.",
            f"Start vLLM with `--max-lora-rank {needed}`, or set `lora.r` to {_SERVED_RANK}.",
        )


def _about_dora(spec: JobSpec) -> Iterator[Problem]:
    if spec.lora.use_dora:
        yield Problem(
            "/lora/use_dora",
            "dora_not_served",
            "Some inference servers refuse DoRA adapters: vLLM loads no adapter with `use_dora`.",
            "Merge the adapter into the base model to serve it there, or set `lora.use_dora` to "
            "false.",
        )


def _about_marks(marks: Sequence[str]) -> Iterator[Problem]:
    if marks:
        message = f"The base model's tokenizer splits {', '.join(marks)} into several tokens."
        hint = "Use a template whose special tokens the base model knows, or a plain-text one."
        yield Problem("/template", "template_tokens_missing", message, hint)
