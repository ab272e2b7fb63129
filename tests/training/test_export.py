"""What an artifact takes from a tokenizer, and which tokenizers are rejected before training."""

import json
import shutil
from pathlib import Path

import pytest

from tests.training.bench import Bench
from worker.training.export import check_tokenizer
from worker.training.failures import BadModel

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_a_base_with_several_chat_templates_gives_an_artifact_with_its_default_one(
    bench: Bench, tiny_base: Path, tmp_path: Path
):
    bench.base = tmp_path / "several"
    shutil.copytree(tiny_base, bench.base)
    more = bench.base / "additional_chat_templates"
    more.mkdir()
    (more / "tool_use.jinja").write_text("tools")
    (bench.base / "chat_template.jinja").write_text(TEMPLATE)

    outcome = bench.run(bench.plan(template="chat", training={"max_steps": 1}))

    assert outcome.status == 0
    artifact = outcome.run_dir / "artifact"
    assert (artifact / "chat_template.jinja").read_text() == TEMPLATE
    assert [each.name for each in artifact.iterdir() if each.is_dir()] == []


class Odd:
    """A tokenizer that saves one file besides its configuration."""

    def __init__(self, name: str) -> None:
        self._name = name

    def save_pretrained(self, folder: Path) -> None:
        (folder / "tokenizer_config.json").write_text(json.dumps({}))
        (folder / self._name).write_text("x")


class Broken:
    def save_pretrained(self, folder: Path) -> None:
        raise TypeError("no JSON")


@pytest.mark.parametrize(
    ("tokenizer", "problem"), [(Odd("odd.model"), "odd.model"), (Broken(), "cannot be saved")]
)
def test_a_tokenizer_that_cannot_be_saved_is_refused_before_training(tmp_path, tokenizer, problem):
    with pytest.raises(BadModel, match=problem):
        check_tokenizer(tokenizer, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_of_named_files_is_accepted(tmp_path):
    check_tokenizer(Odd("vocab.txt"), tmp_path)
