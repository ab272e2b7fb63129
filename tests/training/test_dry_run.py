"""A dry run predicts what the real trainer does: steps, tokens, counts, warnings and refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.core.datasets.layout import program
from app.core.datasets.layout.described import describe
from app.core.datasets.layout.figures import Answer, FiguresRequest, Numbered
from app.core.datasets.layout.outline import Outline
from app.core.datasets.tokens.encoding import Example
from app.core.estimates import steps
from app.core.estimates.devices import device_classes
from app.core.estimates.job import Estimates, needs_of, read_estimates
from app.core.estimates.row_warnings import about_rows
from app.core.estimates.shape import ModelShape, read_shape
from app.core.estimates.warnings import Facts, warnings_of
from tests.layouts import grouped
from tests.training.bench import Bench, Outcome, sum_rows
from tests.training.test_packing import make_examples
from worker.training.data import load_splits
from worker.training.packing import IGNORED

LONG = {"instruction": "Say much", "output": "many words " * 30}
ROWS = [*sum_rows(15), LONG, {**LONG, "output": "short"}]


def dry_run(plan: Any) -> Answer:
    held_out = Path(plan.validation_rows.path) if plan.validation_rows else None
    return program.answer(
        FiguresRequest(spec=plan.spec), Path(plan.base.path), Path(plan.rows.path), held_out
    )


def max_steps(outcome: Outcome) -> int:
    return outcome.of("progress")[-1]["max_steps"]


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"num_train_epochs": 1}},
        {"training": {"num_train_epochs": 2, "packing": False}},
        {"training": {"num_train_epochs": 1, "gradient_accumulation_steps": 3}},
        {"training": {"packing": False, "gradient_accumulation_steps": 4}},
        {"training": {"num_train_epochs": 1.3, "packing": False}},
        {"training": {"num_train_epochs": 0.2, "packing": False}},
        {"training": {"max_steps": 3}},
        {"training": {"max_steps": 13, "per_device_train_batch_size": 3}},
        {"validation": {"fraction": 0.3}, "training": {"packing": False}},
        {"validation": {"fraction": 0.3}, "train_on": "all"},
        {"validation": {"dataset": "ds_2"}},
        {"validation": {"dataset": "ds_2"}, "training": {"eval_steps": 2, "packing": False}},
        {"training": {"save_strategy": "steps", "save_steps": 3, "packing": False}},
        {"training": {"save_strategy": "no"}},
        {"training": {"max_length": 64}, "max_skip_share": 1},
        {"training": {"max_length": 64, "packing": False}, "max_skip_share": 1},
        {"training": {"packing": False}, "on_long_row": "split"},
        {"training": {"num_train_epochs": 1}, "on_long_row": "drop"},
    ],
    ids=lambda changes: json.dumps(changes)[1:-1],
)
def test_steps_and_tokens_are_those_of_the_training(bench: Bench, changes: dict[str, Any]):
    plan = bench.plan(ROWS, **changes)

    answer = dry_run(plan)
    outcome = bench.run(plan)

    assert outcome.status == 0, outcome.of("error")
    laid, training = answer.laid, plan.spec.training
    assert laid is not None
    taken = steps.count(laid.train.trained_rows, training)
    assert taken.total == max_steps(outcome)
    seen, trained = outcome.of("progress")[-1], outcome.of("artifact")[-1]["trained_tokens"]
    if training.max_steps is None and training.num_train_epochs % 1 == 0:
        epochs = int(training.num_train_epochs)
        assert trained == epochs * laid.train.trained_tokens
        assert seen["tokens_seen"] == epochs * laid.train.tokens
    assert seen["epoch"] == pytest.approx(taken.epochs, abs=0.01)
    shape = read_shape(bench.base)
    assert isinstance(shape, ModelShape)
    work = Estimates(shape, plan.spec, laid, bench.base, rows_bytes=0).work()
    evaluated = laid.held_out.tokens if laid.held_out else 0
    assert work.eval_tokens == len(outcome.of("eval")) * evaluated
    assert work.checkpoints == len(outcome.of("checkpoint"))
    # Rows differ in length: a part of an epoch may have drawn none of the long ones.
    tolerance = 0.3 if taken.epochs >= 1 else 0.7
    assert work.tokens == pytest.approx(seen["tokens_seen"], rel=tolerance)
    assert work.computed >= work.tokens


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("template", ["alpaca", "chat", "text"])
def test_outlines_are_laid_out_as_the_rows_themselves(bench: Bench, tokenizer, template, packed):
    rows = [{**row, "text": row["output"]} for row in ROWS]
    rows[3] |= {"history": [["a", "b"], ["c", "d"]], "weights": [1, 0, 1]}
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    base = bench.folder / "chatty"
    try:
        tokenizer.save_pretrained(base)
        config = (bench.base / "config.json").read_text()
        (base / "config.json").write_text(config)
        bench.base = base
        plan = bench.plan(
            rows,
            template=template,
            train_on="all" if template == "text" else "completion",
            validation={"fraction": 0.2},
            training={"max_length": 80, "packing": packed},
            max_skip_share=1,
        )
        splits = load_splits(plan, tokenizer)
    finally:
        tokenizer.chat_template = None

    assert dry_run(plan).laid == describe(splits, 80, packed=packed, batch=2)


def test_an_outline_is_cut_and_counted_like_its_row():
    examples = make_examples(60, seed=5, longest=70)
    holed = list(range(3, 43))
    labels = [IGNORED] * 4 + holed[4:9] + [IGNORED] * 20 + holed[29:]
    examples += [Example(holed, labels, 90), Example(holed, [IGNORED] * 40, 91)]
    outlines = [Outline.of(each) for each in examples]

    def figures(groups: Any) -> Any:
        return [[(e.row, e.size, e.prompt_size, e.num_trained) for e in group] for group in groups]

    for length in (8, 13, 32, 64):
        assert figures(grouped(outlines, length, packed=True)) == figures(
            grouped(examples, length, packed=True)
        )
        assert figures(grouped(outlines, length, packed=False)) == figures(
            grouped(examples, length, packed=False)
        )


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (sum_rows(60), {}),
        (sum_rows(4) * 20, {"validation": {"fraction": 0.3}, "training": {"packing": False}}),
        ([*sum_rows(60), LONG], {"training": {"packing": False}}),
        ([*sum_rows(60), LONG], {"validation": {"dataset": "ds_2"}, "lora": {"r": 40}}),
        (
            [*sum_rows(60), LONG],
            {"training": {"max_length": 64}, "max_skip_share": 1, "recipe": "xgen-7b-alpaca"},
        ),
    ],
)
def test_a_job_warns_of_what_its_dry_run_warned_of(bench: Bench, rows, changes):
    training = {"max_steps": 1, "learning_rate": 0.02} | changes.pop("training", {})
    plan = bench.plan(rows, training=training, **changes)
    answer = dry_run(plan)
    assert answer.laid is not None
    found = read_estimates(Path(plan.base.path), plan.spec, answer.laid, rows_bytes=10_000)
    needs = needs_of(found, device_classes()[0], bench.folder / "not" / "yet")
    facts = Facts(spec=plan.spec, laid=answer.laid, copies=answer.copies, needs=needs)

    outcome = bench.run(plan)

    foretold = [each.code for each in warnings_of(facts)]
    assert outcome.status == 0
    assert "learning_rate_unusual" in foretold
    assert [each["code"] for each in outcome.of("warning")] == foretold


def broken(bench: Bench, **files: Any) -> None:
    """A base with other JSON files."""
    folder = bench.folder / "broken"
    folder.mkdir()
    for path in bench.base.iterdir():
        content = path.read_bytes()
        if changes := files.get(path.stem):
            content = json.dumps({**json.loads(content), **changes}).encode()
        (folder / path.name).write_bytes(content)
    bench.base = folder


PICKY = {
    "tokenizer_config": {
        "chat_template": "{% if messages[0].role == 'system' %}{{ raise_exception('System role not "
        "supported') }}{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token "
        "}}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    }
}
PICKY_ROWS = [row | ({"system": "Be."} if at == 7 else {}) for at, row in enumerate(sum_rows(12))]
PICKY_SKIP = {"template": "chat", "on_invalid_row": "skip"}


def test_a_job_leaves_out_the_rows_that_its_dry_run_leaves_out(bench: Bench):
    broken(bench, **PICKY)
    plan = bench.plan(PICKY_ROWS, training={"max_steps": 1}, **PICKY_SKIP)

    laid = dry_run(plan).laid
    outcome = bench.run(plan)

    assert laid is not None
    assert laid.refused == Numbered(count=1, first=[7])
    assert (laid.train.rows, laid.train.trained_rows) == (12, 11)
    assert "System role not supported" in laid.refusal
    assert outcome.status == 0, outcome.failure
    (told,) = [each for each in outcome.of("warning") if each["code"] == "rows_refused"]
    assert told["pointer"] == "/on_invalid_row"
    (message,) = [e.message for e in about_rows(plan.spec, laid, None) if e.code == "rows_refused"]
    assert message in [each["message"] for each in outcome.reports if each["type"] == "warning"]
    assert "rows 7, counted from 0" in message
    assert "System role not supported" in message


@pytest.mark.parametrize(
    ("code", "rows", "changes", "files"),
    [
        ("prompt_too_long", ROWS, {"training": {"max_length": 16}}, {}),
        ("no_trained_tokens", sum_rows(3), {"training": {"max_length": 46}}, {}),
        ("template_refuses_row", PICKY_ROWS, {"template": "chat"}, PICKY),
        ("too_many_rows_skipped", PICKY_ROWS, PICKY_SKIP | {"max_skip_share": 0.05}, PICKY),
        ("data_invalid", [], {}, {}),
        ("data_invalid", sum_rows(1), {"validation": {"fraction": 0.5}}, {}),
        ("row_not_an_object", [*sum_rows(3), 3], {}, {}),
        ("column_missing", [{"instruction": "x"}], {}, {}),
        ("value_not_text", [{"instruction": "x", "output": None}], {}, {}),
        ("weights_invalid", [{"instruction": "x", "output": "y", "weights": [2]}], {}, {}),
        ("token_outside_vocabulary", ROWS, {}, {"config": {"vocab_size": 50}}),
        ("model_invalid", ROWS, {"template": "chat"}, {}),
        ("model_invalid", ROWS, {}, {"tokenizer_config": {"eos_token": None}}),
        ("model_invalid", ROWS, {}, {"tokenizer": {"model": {"type": "Unheard"}}}),
    ],
)
def test_a_refusal_has_the_code_the_job_fails_with(bench: Bench, code, rows, changes, files):
    if files:
        broken(bench, **files)
    if code == "no_trained_tokens":
        changes = {"training": {"max_length": first_prompt(bench)}}
    plan = bench.plan(rows, **changes)

    refusal = dry_run(plan).refusal
    outcome = bench.run(plan)

    assert refusal is not None
    assert refusal.code == code
    assert outcome.failure["code"] == code
    assert refusal.message == outcome.failure["message"]
    assert refusal.suggested_patch == outcome.failure["suggested_patch"]


def first_prompt(bench: Bench) -> int:
    from transformers import AutoTokenizer

    from worker.training.data import prompt_texts

    tokenizer = AutoTokenizer.from_pretrained(bench.base)
    texts = prompt_texts(sum_rows(3), "alpaca", tokenizer)  # type: ignore[arg-type]
    (length,) = {len(ids) for ids in tokenizer(texts)["input_ids"]}
    return length
