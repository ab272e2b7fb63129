import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.layouts import alone, packed
from worker.training.packing import IGNORED, Example, padded
from worker.training.probe import keeps_rows_apart


def make_examples(count: int, seed: int = 0, longest: int = 30) -> list[Example]:
    draw = random.Random(seed)
    found = []
    for number in range(count):
        ids = [draw.randrange(3, 250) for _ in range(draw.randint(5, longest))]
        masked = draw.randint(0, 4)
        found.append(Example(ids, [IGNORED] * masked + ids[masked:], number + 1))
    return found


def load(base: Any, attention: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        base, attn_implementation=attention, dtype=torch.float32
    )


def logits(model: Any, sequences: list[Any]) -> torch.Tensor:
    batch = padded(sequences, 2)
    inputs = {key: batch[key] for key in ("input_ids", "position_ids")}
    return model(**inputs, use_cache=False).logits


def loss(model: Any, sequences: list[Any]) -> torch.Tensor:
    batch = padded(sequences, 2)
    found = logits(model, sequences)[:, :-1]
    return torch.nn.functional.cross_entropy(
        found.reshape(-1, found.shape[-1]), batch["labels"][:, 1:].reshape(-1), reduction="sum"
    )


def in_order(sequences: list[Any], found: torch.Tensor) -> dict[tuple[int, ...], torch.Tensor]:
    rows = {}
    for sequence, scores in zip(sequences, found, strict=True):
        start = 0
        for length in sequence.lengths:
            ids = tuple(sequence.input_ids[start : start + length])
            rows[ids] = scores[start : start + length]
            start += length
    return rows


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_packed_row_has_the_logits_it_has_alone(tiny_base, attention, mode):
    model = getattr(load(tiny_base, attention), mode)()
    examples = make_examples(12)
    sequences = packed(examples, 64)
    assert max(len(each.lengths) for each in sequences) > 1

    with torch.no_grad():
        together = in_order(sequences, logits(model, sequences))
        for example in examples:
            apart = logits(model, alone([example], 64))[0]
            assert (together[tuple(example.input_ids)] - apart).abs().max() <= 1e-5


def wrapped(examples: list[Example], max_length: int) -> list[Any]:
    """TRL's `wrapped` strategy: rows in one stream, cut anywhere, with continuous positions."""
    ids = [token for each in examples for token in each.input_ids]
    labels = [label for each in examples for label in each.labels]
    stream = [Example(ids, labels, 1)]
    return [
        sequence
        for start in range(0, len(ids), max_length)
        for sequence in alone(
            [Example(stream[0].input_ids[start:][:max_length], labels[start:][:max_length], 1)],
            max_length,
        )
    ]


def gradients(model: Any, sequences: list[Any], batch_size: int) -> torch.Tensor:
    model.zero_grad()
    for start in range(0, len(sequences), batch_size):
        loss(model, sequences[start : start + batch_size]).backward()
    return torch.cat([each.grad.flatten() for each in model.parameters()])


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packing_leaves_gradients_as_they_are_and_wrapping_does_not(tiny_base, attention):
    model = load(tiny_base, attention).train()
    examples = make_examples(12, seed=1)

    expected = gradients(model, alone(examples, 64), 1)

    assert distance(gradients(model, alone(examples, 64), 4), expected) <= 1e-5
    assert distance(gradients(model, packed(examples, 64), 1), expected) <= 1e-5
    assert distance(gradients(model, packed(examples, 64), 3), expected) <= 1e-5
    assert distance(gradients(model, wrapped(examples, 64), 1), expected) > 1e-2


def test_the_probe_tells_a_model_that_leaks_from_one_that_does_not(tiny_base):
    model = load(tiny_base, "sdpa").eval()
    examples = make_examples(3)

    class Leaking:
        dtype, device = model.dtype, model.device

        def __call__(self, input_ids: Any, position_ids: Any, **options: Any) -> Any:
            mask = torch.ones_like(input_ids)  # as most code passes it: rows attend to each other
            return model(input_ids, attention_mask=mask, position_ids=position_ids, **options)

    assert keeps_rows_apart(model, examples, 2)
    assert not keeps_rows_apart(Leaking(), examples, 2)


def trained(sequences: list[Any]) -> list[int]:
    return sorted(t for each in sequences for t in each.labels if t != IGNORED)


@pytest.mark.parametrize("lay_out", [alone, packed])
def test_sequences_fit_and_hold_every_row_that_fits(lay_out: Callable[..., Any]):
    examples = make_examples(40, seed=2)

    sequences = lay_out(examples, 32)

    assert all(len(each.input_ids) <= 32 for each in sequences)
    assert all(sum(each.lengths) == len(each.input_ids) for each in sequences)
    tokens = sorted(token for each in sequences for token in each.input_ids)
    assert tokens == sorted(token for each in examples for token in each.input_ids)


def test_packing_splits_a_long_row_and_loses_no_trained_token_but_each_pieces_first():
    ids = list(range(3, 53))
    example = Example(ids, [IGNORED] * 5 + ids[5:], 1)

    sequences = packed([example], 20)

    kept = [token for each in sequences for token in each.input_ids]
    assert sorted(kept) == ids
    # Tokens 20 and 40 start a piece: no token before them can predict them.
    assert trained(sequences) == [token for token in ids[5:] if token not in (ids[20], ids[40])]


def test_packing_is_dense_and_repeatable():
    examples = make_examples(300, seed=3)
    total = sum(len(each.input_ids) for each in examples)

    sequences = packed(examples, 128)

    assert total / (128 * len(sequences)) > 0.98
    assert packed(examples, 128) == sequences


def test_the_first_token_of_a_row_is_not_predicted_from_its_neighbour():
    examples = [Example([5, 6, 7], [5, 6, 7], 1), Example([8, 9], [8, 9], 2)]

    (sequence,) = packed(examples, 16)

    assert sequence.labels == [IGNORED, 6, 7, IGNORED, 9]
    batch = padded([sequence, sequence], 0)
    assert batch["position_ids"][0].tolist() == [0, 1, 2, 0, 1]
    assert "attention_mask" not in batch
    assert (batch["num_tokens"], batch["num_trained"]) == ([5, 5], [3, 3])
