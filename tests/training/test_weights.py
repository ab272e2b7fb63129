"""Message weights, from an upload to the labels of the trainer's batch."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from app.core.datasets.checking.check import check
from tests.layouts import alone
from worker.training.data import load_splits
from worker.training.packing import padded

ANSWERS = ["a!", "b b", "c."]
ASKS = ["Say a", "Say b", "Say c"]
GIVEN = [each for each in product([None, 0, 1], repeat=3) if any(w != 0 for w in each)]


def as_messages(weights: Any) -> dict[str, Any]:
    messages = []
    for ask, answer, weight in zip(ASKS, ANSWERS, weights, strict=True):
        said = {"role": "assistant", "content": answer}
        told = {} if weight is None else {"weight": weight}
        messages += [{"role": "user", "content": ask}, {**said, **told}]
    return {"messages": messages}


def as_sharegpt(weights: Any) -> dict[str, Any]:
    named = [
        {"from": each["role"], "value": each["content"], "weight": each.get("weight")}
        for each in as_messages(weights)["messages"]
    ]
    return {"conversations": named}


def as_halves(weights: Any) -> dict[str, Any]:
    messages = as_messages(weights)["messages"]
    return {"prompt": messages[:3], "completion": messages[3:]}


def as_alpaca(weights: Any) -> dict[str, Any]:
    history = [list(turn) for turn in zip(ASKS[:2], ANSWERS[:2], strict=True)]
    row = {"instruction": ASKS[2], "output": ANSWERS[2], "history": history}
    return row if weights is None else {**row, "weights": list(weights)}


def trained(bench: Any, tokenizer: Any, tmp_path: Path, row: dict[str, Any]) -> list[str]:
    """The answers in the labels of the trainer's batch, from an upload of one row."""
    upload = tmp_path / "upload"
    upload.write_text(json.dumps(row))
    report = check(upload, tmp_path, declared="auto", max_row_chars=100_000)
    assert report["status"] == "ready", report["problems"]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    splits = load_splits(bench.plan(rows, training={"max_length": 512}), tokenizer)
    batch = padded(alone(splits.train, 512), 0)
    labels = [each if each >= 0 else None for each in batch["labels"][0].tolist()]
    assert sum(batch["num_trained"]) == sum(each is not None for each in labels)
    spans: list[list[int]] = [[]]
    for label in labels:
        if label is not None:
            spans[-1].append(label)
        elif spans[-1]:
            spans.append([])
    return [tokenizer.decode(each) for each in spans if each]


def ended(weights: Any) -> list[str]:
    """The trained answers: an EOS follows only the last, as in a prompt with earlier turns."""
    *earlier, last = (said for said, each in zip(ANSWERS, weights, strict=True) if each != 0)
    return [*earlier, f"{last}</s>"]


@pytest.mark.parametrize("form", [as_messages, as_sharegpt])
@pytest.mark.parametrize("weights", GIVEN)
def test_every_answer_without_weight_0_is_trained(bench, tokenizer, tmp_path, form, weights):
    assert trained(bench, tokenizer, tmp_path, form(weights)) == ended(weights)


@pytest.mark.parametrize("weights", [each for each in GIVEN if any(w != 0 for w in each[1:])])
def test_of_prompt_and_completion_only_the_completions_are(bench, tokenizer, tmp_path, weights):
    # The prompt ends with the second question.
    only = (0, *weights[1:])

    assert trained(bench, tokenizer, tmp_path, as_halves(weights)) == ended(only)


@pytest.mark.parametrize("weights", [None, *(w for w in product([0, 1], repeat=3) if any(w))])
def test_alpacas_history_is_trained_where_weights_say_so(bench, tokenizer, tmp_path, weights):
    wanted = (0, 0, 1) if weights is None else weights

    assert trained(bench, tokenizer, tmp_path, as_alpaca(weights)) == ended(wanted)


@pytest.mark.parametrize(
    ("row", "weights"),
    [
        (as_messages((None, None, None)), [1, 1, 1]),
        (as_messages((0, 0, 1)), None),
        (as_messages((1.0, 0, 0.0)), [1, 0, 0]),
        (as_alpaca((0, 0, 1)), None),
        (as_alpaca((1.0, 0, 1)), [1, 0, 1]),
    ],
)
def test_weights_are_written_only_where_they_say_something(row, weights, tmp_path):
    upload = tmp_path / "upload"
    upload.write_text(json.dumps(row))

    report = check(upload, tmp_path, declared="auto", max_row_chars=100_000)

    [kept] = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert kept.get("weights") == weights
    assert report["first_rows"] == [kept]
    assert report["features"].get("weights") == ("List(Value('int64'))" if weights else None)


def test_a_cell_of_weights_is_read_as_json(tmp_path):
    upload = tmp_path / "upload"
    upload.write_text(
        'instruction,output,history,weights\na,b,"[[""x"", ""y""]]","[1, 1]"\na,b,,\n'
    )

    report = check(upload, tmp_path, declared="csv", max_row_chars=1000)

    assert report["num_valid_rows"] == 2, report["problems"]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row.get("weights") for row in rows] == [[1, 1], None]
