"""The steps between loading and training: warnings, sequences, the checkpoint to go on from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.core.jobs.recipes import RECIPES
from app.core.jobs.run import Plan
from worker.training import checkpoints
from worker.training.checkpoints import Checkpoint
from worker.training.data import Counts, Splits, count_cut
from worker.training.failures import BadTarget
from worker.training.packing import TokenSequence, alone, collator, packed
from worker.training.plan import fingerprint, lora_config, sft_config
from worker.training.probe import keeps_rows_apart
from worker.training.progress import Reports
from worker.training.trainer import LoraTrainer, Tally

_USUAL_RATES = (1e-5, 5e-3)
"""LoRA's best rates lie near 1e-4 to 1e-3 for models of 1B and up, higher only for toys."""


def warn(plan: Plan, reports: Reports) -> None:
    """What the user should know before hours are spent."""
    for text in recipe_warnings(plan):
        reports.warn("recipe_departs", text, pointer="/recipe")
    rate = plan.spec.training.learning_rate
    low, high = _USUAL_RATES
    if not low <= rate <= high:
        reports.warn(
            "learning_rate_unusual",
            f"The learning rate {rate:g} is far from LoRA's usual {low:g} to {high:g}.",
            hint="2e-4 is a good start.",
            pointer="/training/learning_rate",
        )


def warn_of_rows(counts: Counts, reports: Reports) -> None:
    """What of the dataset is not trained on as it stands."""
    told = [
        ("rows_truncated", counts.truncated, "were cut to `max_length`"),
        ("eos_lost", counts.eos_lost, "lost the end-of-sequence token that teaches to stop"),
        ("rows_dropped", counts.dropped, "have no token to train on within `max_length`"),
        ("rows_split", counts.split, "were split at `max_length`; a piece does not see the others"),
    ]
    for code, rows, what in told:
        if rows:
            numbers = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
            message = f"{len(rows)} of {counts.rows} rows {what} (rows {numbers}, counted from 0)."
            reports.warn(code, message, hint="Raise `max_length`.", pointer="/training/max_length")
    if counts.unlike_prompt:
        message = (
            f"In {len(counts.unlike_prompt)} of {counts.rows} rows the chat template's prompt for "
            "an answer is not how its rendered chat goes on: the answer is trained after that "
            "prompt, as it stands."
        )
        hint = "Templates that open a thought do so; the model learns to answer inside it."
        reports.warn("generation_prompt_differs", message, hint=hint, pointer="/template")
    if counts.tokenizer_differs:
        message = "The library reads this model's tokenizer files in another way than the preview."
        hint = "The tokens trained on are the library's; a preview may show others."
        reports.warn("tokenizer_differs", message, hint=hint, pointer="/model")
    if counts.tokens_lost:
        message = f"{counts.tokens_lost} tokens are not trained on."
        reports.warn("tokens_lost", message, pointer="/training/max_length")


def recipe_warnings(plan: Plan) -> list[str]:
    """Those of a recipe's warnings that the resolved spec still gives reason for."""
    recipe = RECIPES.get(plan.spec.recipe)
    if recipe is None:
        return []
    holds = {
        "Packing": plan.spec.training.packing,
        "LoRA": plan.spec.lora.target_modules == "all-linear",
    }
    return [text for text in recipe.warnings if holds.get(text.split()[0], True)]


def sequences(
    plan: Plan, splits: Splits, base: Any, tokenizer: Any, reports: Reports
) -> tuple[list[TokenSequence], list[TokenSequence]]:
    """Training and held-out rows as the model will see them; counts what does not fit."""
    lay_out = alone
    if plan.spec.training.packing:
        if keeps_rows_apart(base, splits.train, tokenizer.pad_token_id):
            lay_out = packed
        else:
            message = "This model lets packed rows see each other: they are trained one by one."
            reports.warn("packing_unsafe", message, pointer="/training/packing")
    length = plan.spec.training.max_length
    count_cut(splits.train, length, splits.counts, packed=lay_out is packed)
    return lay_out(splits.train, length), lay_out(splits.held_out, length)


def find_checkpoint(plan: Plan, run_dir: Path, reports: Reports) -> Checkpoint | None:
    """The one to go on from, of earlier epochs or of this very run directory."""
    own = run_dir / "checkpoints"
    checkpoints.sweep(own)
    folders = [Path(each) for each in plan.resume_from]
    found, rejected = checkpoints.newest([*folders, own], fingerprint(plan))
    for each in rejected:
        hint = "Training goes on from the one before it, or from the start."
        name = each.path.name
        reports.warn("checkpoint_rejected", f"{name} is not used: {each.reason}.", hint=hint)
    return found


def build_trainer(
    plan: Plan,
    run_dir: Path,
    device: str,
    base: Any,
    tokenizer: Any,
    train: Sequence[TokenSequence],
    held_out: Sequence[TokenSequence],
    tally: Tally,
) -> LoraTrainer:
    from datasets import Dataset

    check_targets(plan, base)
    trainer = LoraTrainer(
        tally,
        model=base,
        args=sft_config(plan, run_dir / "checkpoints", device),
        train_dataset=Dataset.from_list([vars(each) for each in train]),
        eval_dataset=Dataset.from_list([vars(each) for each in held_out]) if held_out else None,
        processing_class=tokenizer,
        data_collator=collator(tokenizer.pad_token_id),
        peft_config=lora_config(plan),
    )
    if trainer.args.activation_checkpointing:
        # The Trainer does so when it trains: too late for the probe of the longest batch.
        options = trainer.args.activation_checkpointing_kwargs
        trainer.model.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    return trainer


def check_targets(plan: Plan, base: Any) -> None:
    """Refuse names that fit nothing, and the head, whose adapter TRL's loss would pass over."""
    import torch

    wanted = plan.spec.lora.target_modules
    if wanted == "all-linear":
        return
    linear = [name for name, each in base.named_modules() if isinstance(each, torch.nn.Linear)]
    ends = sorted({name.rpartition(".")[2] for name in linear} - {"lm_head"})
    for name in wanted:
        known = any(each == name or each.endswith(f".{name}") for each in linear)
        if name.rpartition(".")[2] == "lm_head" or not known:
            raise BadTarget(
                f'"{name}" is not a linear layer that can carry an adapter.',
                hint=f'This model has {", ".join(ends)}; "all-linear" takes them all.',
                suggested_patch={"lora": {"target_modules": "all-linear"}},
            )
