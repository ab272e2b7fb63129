"""What a preview shows is the trainer's batch, token for token, for every template."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from app.core.datasets.layout.described import describe
from app.core.datasets.layout.preview import PreviewSettings, preview, texts_of
from app.core.datasets.tokens import lengths
from app.core.datasets.tokens.measure import measure
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.jobs.failures import NoTrainedTokens
from app.core.templates.template import ours
from tests.training.test_encoding import byte_level, ends_with_eos, metaspace_with_bos
from worker.training.data import load_splits
from worker.training.model import load_tokenizer
from worker.training.packing import alone, collator, packed

OWN = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
LONG = "and on " * 60
ROWS: list[dict[str, Any]] = [
    {"instruction": "Say hi", "output": "hi"},
    {"instruction": "Say it", "input": "caf\u00e9 \U0001f600", "output": "so\n", "system": "Be."},
    {"instruction": "Go on", "output": "on", "history": [["Say a", "a!"], ["Say b", "b b"]]},
    {
        "instruction": "Go on",
        "output": "on",
        "history": [["Say a", "a!"], ["Say b", LONG]],
        "weights": [1, 0, 1],
        "system": "Be brief.",
    },
    {"instruction": "x", "output": "y", "history": [["Say a", LONG]], "weights": [1, 0]},
    {"instruction": "Tell", "output": LONG},
    {"instruction": LONG, "output": "no"},
    {"instruction": "<s>x</s>", "output": "<|im_end|> </s>", "input": " "},
]
TEXTS = [{"text": "one two"}, {"text": LONG}, {"text": "</s>"}, {"text": " caf\u00e9\n"}]


@pytest.fixture(params=[byte_level, metaspace_with_bos, ends_with_eos], ids=lambda f: f.__name__)
def folder(request: pytest.FixtureRequest, tiny_base: Path, tmp_path: Path) -> Path:
    """A base with a tokenizer of this kind; only its files are read here."""
    made = request.param()
    made.chat_template = OWN
    made.save_pretrained(tmp_path / "base")
    config = json.loads((tiny_base / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    return tmp_path / "base"


def shown(rows: list[Any], folder: Path, template: str, **asked: Any) -> list[Any]:
    settings = PreviewSettings(template, ours()[template].chat_template, (), **asked)
    return preview(list(enumerate(rows)), settings, RowTokenizer.from_folder(folder))


def trained(rows: list[Any], bench: Any, folder: Path, template: str, **asked: Any) -> Any:
    """(tokenizer, splits) of the real trainer, which reads the base with transformers."""
    bench.base = folder
    length, packing = asked.pop("max_length"), asked.pop("packing")
    training = {"max_length": length, "packing": packing}
    plan = bench.plan(rows, template=template, training=training, on_invalid_row="skip", **asked)
    tokenizer = load_tokenizer(plan)
    return load_splits(plan, tokenizer)


def size_of(rows: list[Any], folder: Path, template: str, share: float) -> int:
    """That this share of the rows fits into."""
    asked = {"train_on": "all", "max_length": 1 << 20, "packing": False}
    sizes = sorted(row["num_tokens"] for row in shown(rows, folder, template, **asked))
    # A trained answer of `history` takes an EOS that its text has no place for.
    return max(8, sizes[round(share * len(sizes)) - 1] + (8 if share == 1 else 0))


def cells(ids: Any, labels: Any) -> list[tuple[int, bool]]:
    return [(int(token), int(label) >= 0) for token, label in zip(ids, labels, strict=True)]


@pytest.mark.parametrize("share", [0.5, 1])
@pytest.mark.parametrize("train_on", ["completion", "all"])
@pytest.mark.parametrize("template", list(ours()))
def test_rows_by_themselves_are_the_collated_batch(bench, folder, template, train_on, share):
    if template == "text" and train_on == "completion":
        return
    rows = TEXTS if template == "text" else ROWS
    max_length = size_of(rows, folder, template, share)
    asked = {"train_on": train_on, "max_length": max_length, "packing": False}

    told = shown(rows, folder, template, **asked)

    splits = trained(rows, bench, folder, template, **asked)
    batch = collator(0)([vars(each) for each in alone(splits.train, max_length)])
    kept = [row for row in told if not row["dropped"]]
    assert [row["row"] for row in kept] == [each.row for each in splits.train]
    assert [row["row"] for row in told if row["dropped"]] == splits.counts.dropped
    for at, (row, example) in enumerate(zip(kept, splits.train, strict=True)):
        size = row["num_tokens"]
        expected = cells(batch["input_ids"][at, :size], batch["labels"][at, :size])
        assert [(each["id"], each["trained"]) for each in row["tokens"]] == expected
        assert batch["labels"][at, size:].tolist() == [-100] * (len(batch["labels"][at]) - size)
        lost = max(0, example.size - max_length)
        assert (row["truncated"] or {"num_tokens": 0})["num_tokens"] == lost
        assert row["eos"] == {"present": not lost, "trained": not lost, "lost": bool(lost)}
    assert any(row["truncated"] for row in told) == (share < 1)
    assert batch["num_tokens"] == sum(row["num_tokens"] for row in kept)
    assert batch["num_trained"] == sum(row["num_trained"] for row in told)


@pytest.mark.parametrize("train_on", ["completion", "all"])
@pytest.mark.parametrize("template", list(ours()))
def test_packed_rows_are_the_parts_of_the_collated_sequences(bench, folder, template, train_on):
    if template == "text" and train_on == "completion":
        return
    rows = TEXTS if template == "text" else ROWS
    max_length = size_of(rows, folder, template, 0.5)
    asked = {"train_on": train_on, "max_length": max_length, "packing": True}

    told = shown(rows, folder, template, **asked)

    splits = trained(rows, bench, folder, template, **asked)
    sequences = packed(splits.train, max_length)
    batch = collator(0)([vars(each) for each in sequences])
    expected = []
    for ids, labels, sequence in zip(batch["input_ids"], batch["labels"], sequences, strict=True):
        at = 0
        for length in sequence.lengths:
            expected.append(cells(ids[at : at + length], labels[at : at + length]))
            at += length
    made = []
    for row in told:
        at = 0
        for piece in row["pieces"]:
            tokens = row["tokens"][at : at + piece["num_tokens"]]
            at += piece["num_tokens"]
            if piece["num_trained"]:
                made.append([(each["id"], each["trained"]) for each in tokens])
            assert piece["num_trained"] == sum(each["trained"] for each in tokens)
        assert at == row["num_tokens"] == len(row["tokens"])
    assert sorted(made) == sorted(expected)
    assert batch["num_trained"] == sum(row["num_trained"] for row in told)
    assert any(len(row["pieces"]) > 1 for row in told)
    assert not any(row["truncated"] for row in told)


def test_the_texts_of_tokens_are_the_text(folder):
    tokenizer = RowTokenizer.from_folder(folder)
    (ids,) = tokenizer.ids(["a caf\u00e9 \U0001f600 </s> x\n\ny  z"], special=True)

    for size in range(1, len(ids) + 1):
        texts = texts_of(ids[:size], tokenizer)
        assert len(texts) == size
        assert "".join(texts) == tokenizer.decode(ids[:size])


def test_a_row_shows_the_text_that_its_tokens_are_of(folder):
    row = ROWS[4]

    for template, train_on in product(("alpaca", "chatml"), ("completion", "all")):
        asked = {"train_on": train_on, "max_length": 512, "packing": False}
        (told,) = shown([row], folder, template, **asked)
        assert ("y" in told["text"].splitlines()[-1:]) == (
            template == "alpaca" and train_on == "all"
        )
        assert LONG in told["text"]


def test_a_preview_reads_few_libraries():
    code = "import sys, app.core.datasets.layout.preview; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"huggingface_hub", "numpy", "pydantic", "pyarrow", "sqlalchemy"} & set(
        done.stdout.split()
    )


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("template", ["alpaca", "text", "chatml"])
def test_lengths_plan_and_preview_lose_the_same(bench, folder, template, packing):
    rows = [*TEXTS, {"text": ""}] if template == "text" else ROWS
    train_on = "all" if template == "text" else "completion"
    tokenizer = RowTokenizer.from_folder(folder)
    lines = [json.dumps(row).encode() for row in rows]
    speech = ours()[template].chat_template
    measured = measure(lines, tokenizer.with_chat_template(speech), template, train_on)
    sizes = {int(size) + more for size in measured.tokens for more in (-1, 0, 1)}

    for max_length in sorted({8, 9, 50} | {size for size in sizes if 8 <= size <= 400}):
        asked = {"train_on": train_on, "max_length": max_length, "packing": packing}
        told = shown(rows, folder, template, **asked)
        try:
            splits = trained(rows, bench, folder, template, **asked)
        except NoTrainedTokens:
            assert all(row["dropped"] for row in told)
            continue
        laid = describe(splits, max_length, packed=packing)
        found = (lengths.split if packing else lengths.cut)(measured, max_length)

        assert found == {
            "rows": (laid.split if packing else laid.truncated).count,
            "dropped_rows": laid.dropped.count,
            "eos_lost_rows": laid.eos_lost.count,
            "tokens_lost": laid.tokens_lost,
        }
        assert [row["row"] for row in told if row["dropped"]] == splits.counts.dropped
        assert sum(row["eos"]["lost"] for row in told) == laid.eos_lost.count
        assert sum(row["num_trained"] for row in told) == laid.train.trained_tokens
