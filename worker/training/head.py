"""The head that losses go through: TRL's fused one where it equals the model's, else the model's.

TRL multiplies the backbone's output by the head's weight. An architecture may do more between the
two: another projection, a norm, a soft cap. The loss would then be that of a model nobody can load.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.utils import FusedCausalLMOutput

from worker.training.failures import out_of_memory
from worker.training.packing import IGNORED, Example
from worker.training.reporter import Reporter
from worker.training.verify import TOLERANCE, next_log_probs

_ROWS = 8
_TOKENS = 64


def choose(trainer: Any, examples: Sequence[Example], precision: str, reports: Reporter) -> None:
    """Compare one row's log-probabilities both ways; replace the fused head where they differ."""
    longest = max(examples[:_ROWS], key=lambda each: len(each.input_ids))
    difference = _difference(trainer, longest.input_ids[:_TOKENS], TOLERANCE[precision])
    if difference is None:
        return
    use_plain_logits(trainer.model.get_base_model())
    message = "The loss of this architecture is computed from full logits, which takes more memory."
    hint = f"TRL's fused head does not give this model's log-probabilities: {difference}."
    reports.warn("head_not_fused", message, hint=hint, pointer="/model")


def _difference(trainer: Any, ids: list[int], tolerance: float) -> str | None:
    """How the fused head differs from plain logits on these tokens; None if it does not."""
    if len(ids) < 2:
        return "the row is too short to compare"
    logits = trainer.logits(ids)
    want = next_log_probs(logits, ids)
    try:
        got = trainer.log_probs(ids)
    except Exception as error:  # the head may be of any class
        if out_of_memory(error) is not None:
            raise
        return f"{type(error).__name__}: {error}"[:200]
    if not bool(want.isfinite().all()):
        return None  # broken either way: the first loss names the base
    difference = float((got - want).abs().max())
    if difference <= tolerance * max(1.0, float(logits.abs().max())):
        return None
    return f"they differ by up to {difference:.3g}"


def use_plain_logits(base: Any) -> None:
    """Have a model that TRL patched answer `fused_lm_head=True` from its own logits."""
    patched = base.forward

    @functools.wraps(type(base).forward)  # `generate` reads the signature
    def forward(*args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return patched(*args, labels=labels, **kwargs)
        outputs = patched(*args, **{**kwargs, "use_cache": False})
        return _scored(outputs, labels)

    base.forward = forward


def _scored(outputs: Any, labels: Any) -> FusedCausalLMOutput:
    labels = labels[:, 1:].to(outputs.logits.device)
    mask = labels != IGNORED
    scores = outputs.logits[:, :-1][mask].float().log_softmax(-1)
    log_probs = scores.gather(-1, labels[mask][:, None])[:, 0]
    with torch.no_grad():
        entropy = -(scores.exp() * scores).sum(-1)
        is_top1 = scores.argmax(-1) == labels[mask]

    def spread(values: Any) -> Any:
        return values.new_zeros(mask.shape).masked_scatter(mask, values)

    return FusedCausalLMOutput(
        loss=-log_probs.sum() / mask.sum().clamp(min=1),
        log_probs=spread(log_probs),
        entropy=spread(entropy),
        is_top1=spread(is_top1),
        label_mask=mask,
        aux_loss=getattr(outputs, "aux_loss", None),
    )
