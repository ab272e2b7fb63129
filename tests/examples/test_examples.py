"""The example dataset and base model: reproducible from their scripts, and as documented."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DATA = EXAMPLES / "data"
MODEL = EXAMPLES / "models" / "tunesmith-tiny"
DATA_FILES = ("tickets_train.json", "tickets_held_out.json")
MODEL_FILES = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}

sys.path.insert(0, str(ROOT))  # the examples are not an installed package

from examples.corpus import Text, draw_text  # noqa: E402
from examples.frame import prompt  # noqa: E402
from examples.make_base import build_tokenizer  # noqa: E402
from examples.make_dataset import INSTRUCTION  # noqa: E402
from examples.messages import FRESH_PER_TEAM, PROBLEMS  # noqa: E402


def rows(name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return found


def messages(name: str) -> list[str]:
    """Return the customer messages, from whichever of the two fields contains them."""
    return [row["input"] or row["instruction"].split("\n", 1)[1] for row in rows(name)]


@cache
def tokenizer() -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(MODEL)


@cache
def pretraining_texts() -> list[Text]:
    rng = Random(7)
    return [draw_text(rng) for _ in range(6000)]


def test_the_dataset_script_writes_the_committed_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.make_dataset", "--out", str(tmp_path)]

    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    for name in DATA_FILES:
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes()


def test_every_row_has_the_three_alpaca_fields_and_a_ticket() -> None:
    for name in DATA_FILES:
        for row in rows(name):
            assert list(row) == ["instruction", "input", "output"]
            assert list(json.loads(row["output"])) == ["team", "priority", "order", "item"]


def test_no_held_out_message_order_number_or_answer_is_in_the_training_rows() -> None:
    train, held_out = rows(DATA_FILES[0]), rows(DATA_FILES[1])

    assert not set(messages(DATA_FILES[0])) & set(messages(DATA_FILES[1]))
    assert not {row["output"] for row in train} & {row["output"] for row in held_out}
    orders = [{json.loads(row["output"])["order"] for row in part} for part in (train, held_out)]
    assert not orders[0] & orders[1]


def test_half_of_the_held_out_rows_state_a_problem_that_no_training_row_states() -> None:
    fresh = [problem for team in PROBLEMS.values() for problem in team[-FRESH_PER_TEAM:]]

    assert not [m for m in messages(DATA_FILES[0]) if any(problem in m for problem in fresh)]
    held_out = messages(DATA_FILES[1])
    assert sum(any(p in m for p in fresh) for m in held_out) == len(held_out) // 2


def test_the_base_never_reads_the_new_task_or_a_held_out_order_number() -> None:
    held_out = {json.loads(row["output"])["order"] for row in rows(DATA_FILES[1])}
    for question, answer in pretraining_texts():
        assert INSTRUCTION not in question
        assert not any(f'"{key}":' in answer for key in ("team", "priority", "order"))
        assert not any(f"#{order}" in question for order in held_out)


def test_the_base_has_read_every_token_of_every_answer() -> None:
    read = {token for text in pretraining_texts() for token in tokenizer()("".join(text)).input_ids}

    for name in DATA_FILES:
        for row in rows(name):
            assert set(tokenizer()(row["output"]).input_ids) <= read


def test_the_model_folder_holds_only_the_files_of_a_llama() -> None:
    assert {path.name for path in MODEL.iterdir()} == MODEL_FILES
    config = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))

    assert config["model_type"] == "llama"
    assert "auto_map" not in config
    assert (MODEL / "model.safetensors").stat().st_size <= 8_000_000
    assert tokenizer().model_max_length == config["max_position_embeddings"]
    assert len(tokenizer()) == config["vocab_size"]


def test_the_committed_tokenizer_is_the_one_the_script_builds() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    committed = tokenizers.Tokenizer.from_file(str(MODEL / "tokenizer.json"))

    assert json.loads(committed.to_str()) == json.loads(build_tokenizer().to_str())


def test_the_sample_prompts_of_the_job_are_held_out_messages() -> None:
    job = json.loads((EXAMPLES / "job.json").read_text(encoding="utf-8"))

    assert job["model"] == MODEL.name
    for sample in job["sample_prompts"]:
        instruction, message = sample.split("\n", 1)
        assert instruction == INSTRUCTION
        assert message in messages("tickets_held_out.json")


def test_any_text_survives_the_tokenizer() -> None:
    special = {tokenizer().pad_token, tokenizer().bos_token, tokenizer().eos_token}
    assert len(special) == 3
    for text in (prompt("Sort: b, a", "3\tx\r\n  y"), "H\u00e9llo \u4f60\u597d \U0001f642", " 12 "):
        assert tokenizer().decode(tokenizer()(text).input_ids) == text


def test_the_alpaca_frame_costs_three_tokens() -> None:
    assert len(tokenizer()(prompt("", "x")).input_ids) == 4


def test_the_base_loads_and_answers_a_question_it_was_taught() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    row = next(row for row in rows("tickets_held_out.json") if row["input"])
    question = prompt("Name the item in one word.", row["input"])
    inputs = tokenizer()(question, return_tensors="pt")

    answer = model.generate(**inputs, max_new_tokens=8, do_sample=False)

    new = answer[0, inputs.input_ids.shape[1] :]
    assert tokenizer().decode(new, skip_special_tokens=True) == json.loads(row["output"])["item"]
    assert new[-1] == tokenizer().eos_token_id
