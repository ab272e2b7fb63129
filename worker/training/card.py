"""The model card: what an adapter is, for a reader on the Hub. Names no path of this machine."""

import json
from typing import Any

from app.core.jobs.protocol import Plan
from worker.training.checkpoints import versions
from worker.training.trainer import Tally

_BODY = """\
# LoRA adapter for {base}

Trained by Tunesmith, job `{job}`: {steps} optimizer steps, {tokens:,} trained tokens,
training loss {loss}{valid}.

## Use

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base_call})
model = PeftModel.from_pretrained(base, "path/to/this/folder")
```
{local}
The prompt it was trained on is in `prompt_template.json`{chat}. Numbers per step are in
`metrics.csv`, all settings in `training_args.json`, hashes of every file in `manifest.json`.

## Data

Dataset `{dataset}`, {rows} rows, sha256 `{sha256}`; loss on {loss_on}. The licences of the base
model and of the dataset hold for this adapter too.
"""


_LOCAL = """
The base `{base}` is not on the Hub: it is a folder of the server's `MODELS_DIR`.
"""


def model_card(plan: Plan, state: Any, tally: Tally, *, speaks: bool) -> str:
    """`speaks`: its tokenizer's chat template gives the prompt it was trained on."""
    losses = [each["train_loss"] for each in state.log_history if "train_loss" in each]
    held_out = [each["eval_loss"] for each in state.log_history if "eval_loss" in each]
    revision = f', revision="{plan.base.revision}"' if plan.base.revision else ""
    is_public = "/" in plan.base.id  # as the Hub's names are; a local one is a folder's name
    body = _BODY.format(
        base=plan.base.id,
        job=plan.job_id,
        steps=state.global_step,
        tokens=tally.trained_tokens,
        loss=f"{losses[0]:.4f} to {losses[-1]:.4f}" if losses else "unknown",
        valid=f", validation loss {held_out[-1]:.4f}" if held_out else "",
        base_call=json.dumps(plan.base.id if is_public else f"path/to/{plan.base.id}") + revision,
        local="" if is_public else _LOCAL.format(base=plan.base.id),
        chat=" and `chat_template.jinja`" if speaks else "",
        dataset=plan.rows.dataset,
        rows=plan.rows.num_rows,
        sha256=plan.rows.sha256,
        loss_on="the answers" if plan.spec.train_on == "completion" else "all text",
    )
    return f"---\n{_metadata(plan)}---\n\n{body}"


def _metadata(plan: Plan) -> str:
    """The Hub's YAML; every string as JSON, which YAML reads, so that no name can break out."""
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
