"""Probes before the first step: do packed rows stay apart, does the longest batch fit in memory?"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from worker.training.adapter import stacked_experts
from worker.training.packing import Example, TokenSequence, padded

_PROBE_TOKENS = 64


def keeps_rows_apart(model: Any, examples: Sequence[Example], pad_id: int) -> bool:
    """Whether this architecture gives packed rows the same logits as rows on their own.

    Position ids are only a request: a recurrent layer, or attention that builds its own mask,
    silently ignores them. So two short rows are run both ways, and once more with another row
    before the second, whose logits must stay as they are.
    """
    import torch

    shortest = sorted(examples, key=lambda each: len(each.input_ids))[:2]
    rows = [each.input_ids[:_PROBE_TOKENS] for each in (shortest * 2)[:2]]
    with torch.no_grad():
        together = _logits(model, rows, pad_id)
        expected = torch.cat([_logits(model, [ids], pad_id) for ids in rows])
        changed = _logits(model, [[_other(token) for token in rows[0]], rows[1]], pad_id)
    if not expected.isfinite().all():
        return True  # broken even without packing: the loss will show it
    # Wrong positions change logits by about their own size; other shapes of the same sums, in
    # bf16 or int8, by 1 % of it.
    exact = model.dtype == torch.float32 and not getattr(model, "is_quantized", False)
    largest, second = expected.abs().max(), slice(len(rows[0]), None)
    is_near = bool((together - expected).abs().max() <= (1e-4 if exact else 5e-2) * largest)
    # The same shapes with other values in another row: equal to the last bit.
    leak = (together[second] - changed[second]).abs().max()
    return is_near and bool(leak <= _shared_rounding(model) * largest)


def _other(token: int) -> int:
    return token - 1 if token else 1


def _shared_rounding(model: Any) -> float:
    """Largest share of a logit by which other rows change how a row is rounded, not its terms.

    int8 keeps the columns in which any token has an outlier in 16 bits (1.6 % measured on a small
    Llama); experts compute the tokens that chose them together.
    """
    if getattr(model, "is_loaded_in_8bit", False):
        return 5e-2
    return 1e-2 if hasattr(model, "config") and stacked_experts(model) else 0.0


def _logits(model: Any, rows: list[list[int]], pad_id: int) -> Any:
    ids = [token for row in rows for token in row]
    sequence = TokenSequence(ids, ids, [len(row) for row in rows])
    batch = padded([sequence], pad_id)
    inputs = {key: batch[key].to(model.device) for key in ("input_ids", "position_ids")}
    return model(**inputs, use_cache=False).logits[0].float()


def run_longest_batch(trainer: Any, sequences: Sequence[TokenSequence]) -> None:
    """Run forward and backward on the longest batch: it runs out of memory now, not in hour three.

    No side effects: gradients are dropped, random states restored, nothing is counted.
    """
    size = trainer.args.per_device_train_batch_size
    longest = sorted(sequences, key=lambda each: -len(each.input_ids))[:size]
    batch = trainer.data_collator([vars(each) for each in longest])
    with kept_random_state():
        trainer.try_step(batch)
    trainer.model.zero_grad(set_to_none=True)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Restore random states afterwards: a resumed run must repeat the draws that follow."""
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(enabled=True):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
