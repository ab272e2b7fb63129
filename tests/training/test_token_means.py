"""Training metrics are means over tokens, however they are split into micro-batches."""

import io

import pytest
import torch

from tests.training.bench import Bench
from worker.training import prepare
from worker.training.data import load_splits
from worker.training.model import load_base
from worker.training.reporter import Reporter
from worker.training.trainer import Tally

ROWS = [
    {"instruction": "Say 1", "output": "1"},
    {"instruction": "Say 2", "output": "yes " * 16},
    {"instruction": "Say 3", "output": "no, three"},
    {"instruction": "Say 4", "output": "yes yes no " * 4},
]


@pytest.fixture(scope="module")
def made(shared_bench: Bench, tokenizer, tmp_path_factory):
    plan = shared_bench.plan(
        ROWS, lora={"lora_dropout": 0.0}, training={"packing": False, "max_length": 256}
    )
    splits = load_splits(plan, tokenizer)
    base = load_base(plan, "cpu")
    laid = prepare.sequences(plan, splits, base, tokenizer, Reporter(io.BytesIO()))
    folder = tmp_path_factory.mktemp("trainer")
    trainer = prepare.build_trainer(plan, folder, "cpu", base, tokenizer, laid, Tally())
    trainer.model.train()
    return trainer, laid.train


def plain_means(trainer, sequences):
    entropy = correct = tokens = 0.0
    for each in sequences:
        labels = torch.tensor(each.labels[1:])
        with torch.no_grad():
            logits = trainer.model(input_ids=torch.tensor([each.input_ids])).logits[0, :-1]
        scores = logits[labels != -100].float().log_softmax(-1)
        entropy -= float((scores.exp() * scores).sum())
        correct += float((scores.argmax(-1) == labels[labels != -100]).sum())
        tokens += len(scores)
    return entropy / tokens, correct / tokens


@pytest.mark.parametrize("batches", [[[0], [1]], [[0], [1], [2], [3]], [[0, 1, 2], [3]], [[1]]])
def test_accuracy_and_entropy_are_means_over_tokens(made, batches):
    trainer, train = made
    for batch in batches:
        trainer.compute_loss(
            trainer.model, trainer.data_collator([vars(train[at]) for at in batch])
        )

    logs: dict[str, float] = {}
    trainer.log(logs)

    used = [train[at] for batch in batches for at in batch]
    entropy, accuracy = plain_means(trainer, used)
    assert logs["entropy"] == pytest.approx(entropy, rel=1e-5)
    assert logs["mean_token_accuracy"] == pytest.approx(accuracy, rel=1e-6)


def test_an_evaluation_in_between_changes_nothing(made):
    trainer, train = made
    trainer.compute_loss(trainer.model, trainer.data_collator([vars(train[0])]))
    trainer.model.eval()
    trainer.log({"eval_loss": 1.0})
    trainer.model.train()
    trainer.compute_loss(trainer.model, trainer.data_collator([vars(train[1])]))
    logs: dict[str, float] = {}
    trainer.log(logs)

    assert logs["mean_token_accuracy"] == pytest.approx(plain_means(trainer, train[:2])[1])


def test_what_was_logged_is_not_counted_again(made):
    trainer, train = made
    for at in (0, 1):
        trainer.compute_loss(trainer.model, trainer.data_collator([vars(train[at])]))
        logs: dict[str, float] = {}
        trainer.log(logs)
        assert logs["mean_token_accuracy"] == pytest.approx(plain_means(trainer, [train[at]])[1])
