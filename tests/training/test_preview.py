"""A preview shows the trainer's batch, token for token, for every template."""

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
from tests.layouts import alone, packed
from tests.training.test_encoding import byte_level, ends_with_eos, metaspace_with_bos
from worker.training.data import load_splits
from worker.training.model import load_tokenizer
from worker.training.packing import padded

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
    """A base model with a tokenizer of this kind; only its files are read."""
    made = request.param()
    made.chat_template = OWN
    made.save_pretrained(tmp_path / "base")
    config = json.loads((tiny_base / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    return tmp_path / "base"


def shown(rows: list[Any], folder: Path, template: str, **options: Any) -> list[Any]:
    settings = PreviewSettings(template, ours()[template].chat_template, (), **options)
    return preview(list(enumerate(rows)), settings, RowTokenizer.from_folder(folder))


def trained(rows: list[Any], bench: Any, folder: Path, template: str, **options: Any) -> Any:
    """Splits of the real trainer, which reads the base model with transformers."""
    bench.base = folder
    length, packing = options.pop("max_length"), options.pop("packing")
    training = {"max_length": length, "packing": packing}
    plan = bench.plan(rows, template=template, training=training, max_skip_share=1.0, **options)
    tokenizer = load_tokenizer(plan)
    return load_splits(plan, tokenizer)


def size_of(rows: list[Any], folder: Path, template: str, share: float) -> int:
    """A `max_length` that this share of the rows fits into."""
    options = {"train_on": "all", "max_length": 1 << 20, "packing": False}
    sizes = sorted(row["num_tokens"] for row in shown(rows, folder, template, **options))
    # A trained answer in `history` gets an EOS that its text does not have.
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
    options = {"train_on": train_on, "max_length": max_length, "packing": False}

    previewed = shown(rows, folder, template, **options)

    splits = trained(rows, bench, folder, template, **options)
    batch = padded(alone(splits.train, max_length), 0)
    kept = [row for row in previewed if not row["dropped"]]
    assert [row["row"] for row in kept] == [each.row for each in splits.train]
    assert [row["row"] for row in previewed if row["dropped"]] == splits.counts.dropped
    for at, (row, example) in enumerate(zip(kept, splits.train, strict=True)):
        size = row["num_tokens"]
        expected = cells(batch["input_ids"][at, :size], batch["labels"][at, :size])
        assert [(each["id"], each["trained"]) for each in row["tokens"]] == expected
        assert batch["labels"][at, size:].tolist() == [-100] * (len(batch["labels"][at]) - size)
        lost = max(0, example.size - max_length)
        assert (row["truncated"] or {"num_tokens": 0})["num_tokens"] == lost
        assert row["eos"] == {"present": not lost, "trained": not lost, "lost": bool(lost)}
    assert any(row["truncated"] for row in previewed) == (share < 1)
    assert sum(batch["num_tokens"]) == sum(row["num_tokens"] for row in kept)
    assert sum(batch["num_trained"]) == sum(row["num_trained"] for row in previewed)


@pytest.mark.parametrize("train_on", ["completion", "all"])
@pytest.mark.parametrize("template", list(ours()))
def test_packed_rows_are_the_parts_of_the_collated_sequences(bench, folder, template, train_on):
    if template == "text" and train_on == "completion":
        return
    rows = TEXTS if template == "text" else ROWS
    max_length = size_of(rows, folder, template, 0.5)
    options = {"train_on": train_on, "max_length": max_length, "packing": True}

    previewed = shown(rows, folder, template, **options)

    splits = trained(rows, bench, folder, template, **options)
    sequences = packed(splits.train, max_length)
    batch = padded(sequences, 0)
    expected = []
    for ids, labels, sequence in zip(batch["input_ids"], batch["labels"], sequences, strict=True):
        at = 0
        for length in sequence.lengths:
            expected.append(cells(ids[at : at + length], labels[at : at + length]))
            at += length
    made = []
    for row in previewed:
        at = 0
        for piece in row["pieces"]:
            tokens = row["tokens"][at : at + piece["num_tokens"]]
            at += piece["num_tokens"]
            if piece["num_trained"]:
                made.append([(each["id"], each["trained"]) for each in tokens])
            assert piece["num_trained"] == sum(each["trained"] for each in tokens)
        assert at == row["num_tokens"] == len(row["tokens"])
    assert sorted(made) == sorted(expected)
    assert sum(batch["num_trained"]) == sum(row["num_trained"] for row in previewed)
    assert any(len(row["pieces"]) > 1 for row in previewed)
    assert not any(row["truncated"] for row in previewed)


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
        options = {"train_on": train_on, "max_length": 512, "packing": False}
        (previewed,) = shown([row], folder, template, **options)
        assert ("y" in previewed["text"].splitlines()[-1:]) == (
            template == "alpaca" and train_on == "all"
        )
        assert LONG in previewed["text"]


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
        options = {"train_on": train_on, "max_length": max_length, "packing": packing}
        previewed = shown(rows, folder, template, **options)
        try:
            splits = trained(rows, bench, folder, template, **options)
        except NoTrainedTokens:
            assert all(row["dropped"] for row in previewed)
            continue
        laid = describe(splits, max_length, packed=packing)
        found = (lengths.split if packing else lengths.cut)(measured, max_length)

        assert found == {
            "rows": (laid.split if packing else laid.truncated).count,
            "dropped_rows": laid.dropped.count,
            "eos_lost_rows": laid.eos_lost.count,
            "tokens_lost": laid.tokens_lost,
        }
        assert [row["row"] for row in previewed if row["dropped"]] == splits.counts.dropped
        assert sum(row["eos"]["lost"] for row in previewed) == laid.eos_lost.count
        assert sum(row["num_trained"] for row in previewed) == laid.train.trained_tokens
