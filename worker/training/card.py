"""The model card of an adapter, for readers on the Hub. It names no paths of this machine."""

import json
from typing import Any

from app.core.jobs.protocol import Plan
from worker.training.checkpoints import versions
from worker.training.trainer import Tally

_BODY = """\
# LoRA adapter for {base}

Trained with Tunesmith in job `{job}`: {steps} optimizer steps, {tokens:,} trained tokens,
training loss {loss}{valid}.

## Use

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base_call})
model = PeftModel.from_pretrained(base, "path/to/this/folder")
```
{local}
The prompt format used in training is in `prompt_template.json`{chat}. Metrics per step are in
`metrics.csv`, training settings in `training_args.json`, and the SHA-256 of each file in
`manifest.json`.

## Data

Dataset `{dataset}`: {rows} rows, SHA-256 `{sha256}`. The loss was computed on {loss_on}.

The licenses of the base model and of the dataset also apply to this adapter.
"""


_LOCAL = """
The base model `{base}` is not on the Hub: it is a folder of the server's `MODELS_DIR`.
"""


def model_card(plan: Plan, state: Any, tally: Tally, *, speaks: bool) -> str:
    """`speaks`: the tokenizer's chat template renders the prompts used in training."""
    losses = [each["train_loss"] for each in state.log_history if "train_loss" in each]
    held_out = [each["eval_loss"] for each in state.log_history if "eval_loss" in each]
    revision = f', revision="{plan.base.revision}"' if plan.base.revision else ""
    is_public = "/" in plan.base.id  # a Hub id has a slash; a local base is named by its folder
    body = _BODY.format(
        base=plan.base.id,
        job=plan.job_id,
        steps=state.global_step,
        tokens=tally.trained_tokens,
        loss=f"from {losses[0]:.4f} to {losses[-1]:.4f}" if losses else "unknown",
        valid=f", validation loss {held_out[-1]:.4f}" if held_out else "",
        base_call=json.dumps(plan.base.id if is_public else f"path/to/{plan.base.id}") + revision,
        local="" if is_public else _LOCAL.format(base=plan.base.id),
        chat=" and `chat_template.jinja`" if speaks else "",
        dataset=plan.rows.dataset,
        rows=plan.rows.num_rows,
        sha256=plan.rows.sha256,
        loss_on="the completions only" if plan.spec.train_on == "completion" else "the full text",
    )
    return f"---\n{_metadata(plan)}---\n\n{body}"


def _metadata(plan: Plan) -> str:
    """The Hub's YAML metadata. Strings are written as JSON: valid YAML with everything escaped."""
    lines = [
        f"base_model: {json.dumps(plan.base.id)}",
        "base_model_relation: adapter",
        "library_name: peft",
        "pipeline_tag: text-generation",
        "tags:",
        *(f"  - {tag}" for tag in ("lora", "sft", "trl", "transformers", "tunesmith")),
        f"tunesmith_versions: {json.dumps(json.dumps(versions()))}",
    ]
    return "\n".join(lines) + "\n"
