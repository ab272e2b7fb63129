"""Verifies an artifact: reloaded onto a fresh base, it must be the model that was trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.core.jobs.protocol import Plan
from worker.training.failures import AdapterMismatch, NothingTrained
from worker.training.model import load_base
from worker.training.packing import Example
from worker.training.reporter import Reporter

_ROWS = 4
_TOKENS = 256
_IS_ZERO = "lora_B."
"""In the names of the factors that LoRA initializes with 0."""

TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}
"""Largest allowed difference of two logits, as a share of the largest logit.

With the same weights, kernels and inputs, the difference is 0 on a CPU. The tolerance allows for
the order of sums on a GPU: a relative error of 2^-24 or 2^-8 per step, growing over the layers.
"""


def reference(model: Any, examples: Sequence[Example]) -> list[Any]:
    """Logits of the start of a few rows, each alone: [tokens, vocabulary], fp32, on the CPU."""
    import torch

    found = []
    with torch.no_grad():
        for example in examples[:_ROWS]:
            ids = torch.tensor([example.input_ids[:_TOKENS]], device=model.device)
            found.append(model(input_ids=ids, use_cache=False).logits[0].float().cpu())
    return found


def reported(trainer: Any, examples: Sequence[Example]) -> list[float]:
    """Mean loss over the start of a few rows, computed as every reported loss of the job."""
    starts = [each.input_ids[:_TOKENS] for each in examples[:_ROWS]]
    return [-float(trainer.log_probs(ids).mean()) if len(ids) > 1 else 0.0 for ids in starts]


def prove_reported(
    logits: Sequence[Any], examples: Sequence[Example], losses: Sequence[float], tolerance: float
) -> None:
    """Raise AdapterMismatch unless reported losses are those of the proven plain logits."""
    for scores, example, loss in zip(logits, examples, losses, strict=False):
        ids = example.input_ids[:_TOKENS]
        if len(ids) < 2:
            continue
        plain = -float(next_log_probs(scores, ids).mean())
        if not abs(plain - loss) <= tolerance * max(1.0, float(scores.abs().max())):
            raise AdapterMismatch(
                "The losses that were reported are not those of the model's own logits.",
                evidence=f"a row's loss was computed as {loss:.4g}, its logits give {plain:.4g}",
            )


def next_log_probs(logits: Any, ids: list[int]) -> Any:
    """Log-probability of each token but the first: [tokens - 1], fp32. `logits`: [tokens, vocab]"""
    import torch

    following = torch.tensor(ids[1:], device=logits.device)
    scores = logits[:-1].float().log_softmax(-1)
    return scores.gather(-1, following[:, None])[:, 0]


def reloaded(plan: Plan, device: str, adapter_dir: Path) -> Any:
    """Load the adapter's files onto a fresh base, in the same precision and quantization."""
    from peft import PeftModel

    return PeftModel.from_pretrained(load_base(plan, device), str(adapter_dir)).eval()


def prove(
    model: Any, expected: Sequence[Any], examples: Sequence[Example], tolerance: float
) -> float:
    """Raise AdapterMismatch unless the reloaded model gives the trained model's logits. Return the
    adapter's effect: the largest difference that it makes to a logit.

    An absolute bound alone would pass a job that trained so little that the base itself is as
    close; so the difference must also be small compared with the adapter's effect.
    """
    with model.disable_adapter():
        untrained = reference(model, examples)
    effects = []
    for got, want, base in zip(reference(model, examples), expected, untrained, strict=True):
        difference = float((got - want).abs().max())
        allowed = tolerance * float(want.abs().max())
        effect = float((want - base).abs().max())
        effects.append(effect)
        noise = 1e-6 * float(want.abs().max())
        if not difference <= allowed or (difference > noise and difference > 0.5 * effect):
            raise AdapterMismatch(
                "The saved adapter does not reproduce the trained model's outputs.",
                evidence=f"logits differ by {difference:.3g}; {allowed:.3g} is allowed, the "
                f"adapter's own effect is {effect:.3g}",
            )
    return max(effects)


def check_effect(effect: float, model: Any, reports: Reporter) -> None:
    """Raise NothingTrained if the adapter is what it was before the first step; warn if it changed
    by less than the outputs' precision shows.
    """
    if effect > 0:
        return
    starts_at_zero = (each for name, each in model.named_parameters() if _IS_ZERO in name)
    if not any(bool(each.any()) for each in starts_at_zero):
        raise NothingTrained("The adapter gives the base model's outputs: nothing was trained.")
    reports.warn(
        "effect_not_visible",
        "The adapter changed, but by less than the precision of the outputs: they are the base's.",
        hint=NothingTrained.hint,
        pointer="/training/learning_rate",
    )
