"""The steps between loading and training: warnings, sequences, the checkpoint to resume from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from app.core import licenses
from app.core.datasets.layout import copies
from app.core.datasets.layout.described import describe
from app.core.datasets.layout.figures import LayoutFigures
from app.core.datasets.layout.long_rows import usual
from app.core.datasets.layout.splits import Splits
from app.core.datasets.tokens.encoding import Example
from app.core.errors import Problem
from app.core.estimates.job import needs_of, read_estimates
from app.core.estimates.needs import Needs
from app.core.estimates.row_warnings import about_length
from app.core.estimates.warnings import Facts, warnings_of
from app.core.jobs.protocol import Plan
from worker.training import adapter, checkpoints, template
from worker.training.adapter import Targets
from worker.training.checkpoints import Checkpoint
from worker.training.configs import lora_config, sft_config
from worker.training.data import preview_differs
from worker.training.failures import BadTarget
from worker.training.model import device_class, other_attention
from worker.training.packing import TokenSequence, collator, rows_of
from worker.training.plan import fingerprint
from worker.training.probe import keeps_rows_apart
from worker.training.reporter import Reporter
from worker.training.trainer import LoraTrainer, Tally


def warn(
    plan: Plan,
    splits: Splits[Example],
    tokenizer: Any,
    *,
    device: str,
    run_dir: Path,
    reports: Reporter,
) -> None:
    """Report the warnings that a dry run of this job gives, from the same facts."""
    laid = _describe(plan, splits, packed=plan.spec.training.packing)
    held_out = Path(plan.validation_rows.path) if plan.validation_rows else None
    facts = Facts(
        spec=plan.spec,
        laid=laid,
        copies=copies.count(Path(plan.rows.path), held_out, plan.spec),
        dataset_license=plan.rows.license,
        base_license=licenses.of_folder(Path(plan.base.path)),
        missing_marks=template.missing_marks(plan, tokenizer),
        needs=_needs(plan, laid, device, run_dir),
    )
    for each in warnings_of(facts):
        report_problem(each, reports)


def _needs(plan: Plan, laid: LayoutFigures, device: str, run_dir: Path) -> Needs:
    files = [each.path for each in (plan.rows, plan.validation_rows) if each]
    size = sum(Path(each).stat().st_size for each in files)
    found = read_estimates(Path(plan.base.path), plan.spec, laid, size)
    return needs_of(found, device_class(device), run_dir)


def report_problem(problem: Problem, reports: Reporter) -> None:
    reports.warn(problem.code, problem.message, hint=problem.hint, pointer=problem.pointer)


def warn_of_tokenizer(plan: Plan, tokenizer: Any, reports: Reporter) -> None:
    """Warn if previews tokenize differently. A dry run cannot tell: it does not use the library."""
    if preview_differs(plan, tokenizer):
        message = "transformers reads this model's tokenizer files differently than the preview."
        hint = "Training uses the tokens of transformers; a preview may show different ones."
        reports.warn("tokenizer_differs", message, hint=hint, pointer="/model")


def warn_of_attention(plan: Plan, reports: Reporter) -> None:
    name = other_attention(Path(plan.base.path))
    if name is not None:
        message = f"config.json names the attention implementation {name!r}; sdpa is used instead."
        hint = "The adapter is the same; remove the key from config.json to avoid this warning."
        reports.warn("attention_replaced", message, hint=hint, pointer="/model")


class Laid(NamedTuple):
    """Rows as the model will see them, one item per row."""

    train: list[TokenSequence]
    held_out: list[TokenSequence]
    pack_length: int | None
    """Tokens of the sequences into which the rows of a batch are packed; None: one row each."""


def sequences(
    plan: Plan, splits: Splits[Example], base: Any, tokenizer: Any, reports: Reporter
) -> Laid:
    length, is_packed = plan.spec.training.max_length, plan.spec.training.packing
    if is_packed and not keeps_rows_apart(base, splits.train, tokenizer.pad_token_id):
        is_packed = False
        message = "Packed rows attend to each other in this model; they are trained unpacked."
        reports.warn("packing_unsafe", message, pointer="/training/packing")
        for each in about_length(_describe(plan, splits, packed=False)):
            report_problem(each, reports)
    long_rows = plan.spec.on_long_row or usual(packed=is_packed)
    return Laid(
        rows_of(splits.train, length, long_rows),
        rows_of(splits.held_out, length, long_rows),
        length if is_packed else None,
    )


def _describe(plan: Plan, splits: Splits[Example], *, packed: bool) -> LayoutFigures:
    training = plan.spec.training
    return describe(
        splits,
        training.max_length,
        packed=packed,
        long_rows=plan.spec.on_long_row,
        batch=training.per_device_train_batch_size,
    )


def find_checkpoint(plan: Plan, run_dir: Path, reports: Reporter) -> Checkpoint | None:
    """The checkpoint to resume from, of earlier epochs or of this run directory; None to start."""
    checkpoints.sweep(run_dir / checkpoints.OWN)
    found, rejected = checkpoints.newest(checkpoints.folders_of(plan, run_dir), fingerprint(plan))
    for each in rejected:
        hint = "Training resumes from an earlier checkpoint, or starts from the beginning."
        name = each.path.name
        reports.warn("checkpoint_rejected", f"{name} is not used: {each.reason}.", hint=hint)
    return found


def choose_targets(plan: Plan, base: Any, reports: Reporter) -> Targets:
    """The layers that get an adapter, with warnings about experts. Raises BadTarget."""
    found, lora = adapter.choose(plan.spec.lora, base), plan.spec.lora
    if found.frozen_experts:
        names = ", ".join(found.frozen_experts)
        message = (
            f"The experts ({names}), {found.frozen_share:.0%} of the weights, get no adapter: "
            "DoRA cannot train them."
        )
        hint = "Set `lora.use_dora` to false to train them, too."
        reports.warn("experts_frozen", message, hint=hint, pointer="/lora/use_dora")
    if found.parameters and lora.lora_dropout:
        message = f"No dropout on the experts ({', '.join(found.parameters)}): PEFT has none there."
        hint = f"The other layers have the dropout of {lora.lora_dropout:g} that was asked for."
        reports.warn("experts_no_dropout", message, hint=hint, pointer="/lora/lora_dropout")
    if plan.spec.quantization != "none" and (experts := adapter.stacked_experts(base)):
        message = (
            f"The experts, {adapter.share(experts, base):.0%} of the weights, are not quantized: "
            "bitsandbytes quantizes linear layers only."
        )
        reports.warn("experts_not_quantized", message, pointer="/quantization")
    return found


@contextmanager
def refusals_of_peft() -> Iterator[None]:
    """Report what PEFT says of an adapter that it cannot attach: it would say so every time."""
    try:
        yield
    except ValueError as error:
        raise BadTarget(
            "PEFT cannot attach this adapter to this base model.",
            evidence=f"{type(error).__name__}: {error}"[:2000],
            hint="Name other layers in `lora.target_modules`.",
        ) from error


def _dataset(rows: Sequence[TokenSequence]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([vars(each) for each in rows])


def build_trainer(
    plan: Plan,
    run_dir: Path,
    device: str,
    base: Any,
    tokenizer: Any,
    laid: Laid,
    tally: Tally,
    targets: Targets | None = None,
) -> LoraTrainer:
    from transformers import PrinterCallback

    targets = targets or adapter.choose(plan.spec.lora, base)
    config = lora_config(plan, base, targets)
    with refusals_of_peft():
        trainer = LoraTrainer(
            tally,
            plan.spec.training,
            model=base,
            args=sft_config(plan, run_dir / checkpoints.OWN, device),
            train_dataset=_dataset(laid.train),
            eval_dataset=_dataset(laid.held_out) if laid.held_out else None,
            processing_class=tokenizer,
            data_collator=collator(tokenizer.pad_token_id, laid.pack_length),
            peft_config=config,
        )
    if targets.parameters:
        adapter.spread_dropout(trainer.model, plan.spec.lora.lora_dropout)
    # It prints the Trainer's own names, rounded; RunCallback prints those of the API.
    trainer.remove_callback(PrinterCallback)
    if trainer.args.activation_checkpointing:
        # The Trainer enables it when training starts: too late to probe the longest batch.
        options = trainer.args.activation_checkpointing_kwargs
        trainer.model.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    return trainer
