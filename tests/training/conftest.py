"""A tiny real base model and plans for it; the trainer is the real one, on the CPU."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.training.bench import Bench, Outcome, make_tokenizer, start_trainer, sum_rows
from worker.training.__main__ import ENVIRONMENT

LIBRARY_WARNINGS = [
    # peft 0.21 still uses transformers' old name.
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
    "ignore:`gradient_checkpointing_(enable|disable)` is deprecated:FutureWarning",
]


def pytest_configure(config: pytest.Config) -> None:
    os.environ.update(ENVIRONMENT)
    # With matrices this small a second thread only adds waiting, most on a busy machine.
    os.environ["OMP_NUM_THREADS"] = "1"
    for each in LIBRARY_WARNINGS:
        config.addinivalue_line("filterwarnings", each)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with 2 layers and a byte-level tokenizer trained on the Alpaca prompt."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("base")
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,  # logits large enough to show a leak between rows
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tiny_base: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture
def bench(tmp_path: Path, tiny_base: Path) -> Bench:
    return Bench(tmp_path, tiny_base)


@pytest.fixture(scope="session")
def shared_bench(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Bench:
    return Bench(tmp_path_factory.mktemp("runs"), tiny_base)


@pytest.fixture(scope="session")
def succeeded(shared_bench: Bench) -> Outcome:
    """A complete run as a separate process, with every feature that has no separate test."""
    plan = shared_bench.plan(
        sum_rows(20),
        validation={"fraction": 0.2},
        sample_prompts=["Say 3", "Say 4"],
        training={"learning_rate": 1e-2, "num_train_epochs": 3},
    )
    run_dir = shared_bench.run_dir(plan)
    status = start_trainer(run_dir).wait(timeout=120)
    return Outcome(run_dir, status)
