"""A tokenizer without a model, in a folder as a base model has it."""

from pathlib import Path

import pytest

from app.core.datasets.tokens.tokenizer import RowTokenizer
from tests.training.bench import make_tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text('{"vocab_size": 400, "max_position_embeddings": 512}')
    return folder


@pytest.fixture(scope="module")
def tokenizer(base) -> RowTokenizer:
    return RowTokenizer.from_folder(base)
