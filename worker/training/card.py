"""The model card of an adapter, for readers on the Hub. It names no paths of this machine."""

import json
from collections.abc import Sequence
from typing import Any

from app.core.datasets.formats import Row
from app.core.jobs.failures import RunFailed
from app.core.jobs.protocol import Plan
from worker.training.best import Shipped
from worker.training.checkpoints import versions
from worker.training.data import prompt_texts
from worker.training.plan import frozen_template
from worker.training.trainer import Tally

_BODY = """\
# LoRA adapter for {base}

Trained with Tunesmith in job `{job}`: {steps} optimizer steps, {tokens:,} trained tokens.
{shipped}

{facts}

## Use

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({base_call})
model = PeftModel.from_pretrained(base, "path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
```
{local}
The model was trained on prompts of exactly this form. Copy it, and replace the instruction:

{prompt}

The prompt format used in training is in `prompt_template.json`{chat}. Metrics per step are in
`metrics.csv`, training settings in `training_args.json`, and the SHA-256 of each file in
`manifest.json`.

## Results

{results}

## Hyperparameters

{hyperparameters}

## Data

Dataset `{dataset}`: {rows} rows, SHA-256 `{sha256}`. {held_out} The loss was computed on {loss_on}.

The licenses of the base model and of the dataset also apply to this adapter.
"""
_STOPPED = {
    "early_stopping": " Training stopped early: the validation loss no longer improved.",
    "deadline": " Training stopped at the job's time limit, before its last step.",
}
_LOCAL = """
The base model `{base}` is a folder of the server's `MODELS_DIR`, and does not say which model of
the Hub it is a copy of.
"""
INSTRUCTION = "Write your instruction here."
_FIGURES = {
    "train_loss": "training loss",
    "train_mean_token_accuracy": "training accuracy per token",
    "eval_loss": "validation loss",
    "eval_mean_token_accuracy": "validation accuracy per token",
}
_TRAINING = (
    *("num_train_epochs", "max_steps", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "learning_rate", "lr_scheduler_type", "warmup_ratio"),
    *("weight_decay", "max_grad_norm", "optim", "max_length", "packing", "precision"),
    *("neftune_noise_alpha", "early_stopping_patience", "seed"),
)


def model_card(
    plan: Plan, state: Any, tally: Tally, tokenizer: Any, *, shipped: Shipped, speaks: bool
) -> str:
    """`speaks`: the tokenizer's chat template renders the prompts used in training."""
    base, called = plan.base, plan.base.public_id
    revision = f', revision="{base.public_revision}"' if base.public_revision else ""
    body = _BODY.format(
        base=called or base.id,
        job=plan.job_id,
        steps=state.global_step,
        tokens=tally.trained_tokens,
        shipped="This is the adapter of step "
        f"{shipped.step}. {shipped.reason}{_STOPPED.get(shipped.stopped_by or '', '')}",
        facts=_table(("", ""), _facts(plan, state, tokenizer, shipped)),
        base_call=json.dumps(called or f"path/to/{base.id}") + revision,
        local="" if called else _LOCAL.format(base=base.id),
        prompt=_fenced(_prompt(plan, tokenizer)),
        chat=" and `chat_template.jinja`" if speaks else "",
        results=_results(state.log_history),
        hyperparameters=_table(("name", "value"), _hyperparameters(plan)),
        dataset=plan.rows.dataset,
        rows=plan.rows.num_rows,
        sha256=plan.rows.sha256,
        held_out=_held_out(plan),
        loss_on="the completions only" if plan.spec.train_on == "completion" else "the full text",
    )
    return f"---\n{_metadata(plan)}---\n\n{body}"


def _facts(plan: Plan, state: Any, tokenizer: Any, shipped: Shipped) -> list[tuple[str, str]]:
    base, template = plan.base, frozen_template(plan)
    commit = f" at commit `{base.public_revision}`" if base.public_revision else ""
    digest = f", SHA-256 `{template.sha256}`" if template.sha256 else ""
    return [
        ("base model", f"`{base.public_id or base.id}`{commit}"),
        ("tokenizer", f"`{type(tokenizer).__name__}` of the base, {len(tokenizer):,} tokens"),
        ("template", f"`{template.name}`{digest}"),
        ("step", f"{shipped.step} of {getattr(state, 'max_steps', state.global_step)}"),
    ]


def _prompt(plan: Plan, tokenizer: Any) -> str:
    row = Row(instruction=INSTRUCTION, text=INSTRUCTION)
    try:
        (text,) = prompt_texts([row], plan.spec.template, tokenizer)
    except RunFailed:
        # The base's own template may insist on more than an instruction. That is no reason to lose
        # a trained adapter.
        return INSTRUCTION
    return str(text)


def _fenced(text: str) -> str:
    """A code block that no run of backquotes in the text can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _results(history: Sequence[dict[str, Any]]) -> str:
    """First, last and lowest value of each figure, with their steps."""
    rows = []
    for key, name in _FIGURES.items():
        found = [(each.get("step", 0), each[key]) for each in history if key in each]
        if found:
            best = (min if key.endswith("loss") else max)(found, key=lambda each: each[1])
            shown = (f"{value:.4f} (step {step})" for step, value in (found[0], found[-1], best))
            rows.append((name, *shown))
    return _table(("figure", "first", "last", "best"), rows) if rows else "No figures were logged."


def _hyperparameters(plan: Plan) -> list[tuple[str, str]]:
    spec = plan.spec
    chosen: list[tuple[str, Any]] = [*spec.lora.model_dump(mode="json").items()]
    chosen.append(("quantization", spec.quantization))
    training = spec.training.model_dump(mode="json")
    chosen += [(name, training[name]) for name in _TRAINING if training.get(name) is not None]
    return [(f"`{name}`", f"`{_value(value)}`") for name, value in chosen]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _held_out(plan: Plan) -> str:
    validation = plan.spec.validation
    if plan.validation_rows is not None:
        rows = plan.validation_rows
        return f"Validated on dataset `{rows.dataset}`: {rows.num_rows} rows."
    if validation is not None and validation.fraction is not None:
        return f"Of these, a share of {validation.fraction:g} was held out for validation."
    return "None were held out for validation."


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _metadata(plan: Plan) -> str:
    """The Hub's YAML metadata. Strings are written as JSON: valid YAML with everything escaped."""
    lines = [
        f"base_model: {json.dumps(plan.base.public_id or plan.base.id)}",
        "base_model_relation: adapter",
        "library_name: peft",
        "pipeline_tag: text-generation",
        "tags:",
        *(f"  - {tag}" for tag in ("lora", "sft", "trl", "transformers", "tunesmith")),
        f"tunesmith_versions: {json.dumps(json.dumps(versions()))}",
    ]
    return "\n".join(lines) + "\n"
