"""Encode rows chunk by chunk, for trainer and dry run; what cannot be encoded raises BadModel."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from app.core.datasets.formats import Row
from app.core.datasets.tokens.chat import TemplateFailed
from app.core.datasets.tokens.encoding import Example, encode
from app.core.datasets.tokens.hidden import ToolsHidden
from app.core.datasets.tokens.templates import NO_TOOLS_HINT
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.jobs.failures import BadModel, BadRow
from app.core.jobs.spec import JobSpec

_CHUNK = 1000
"""Rows tokenized at once, between two signs of progress."""


def encode_rows(
    rows: Iterable[tuple[int, Row]],
    spec: JobSpec,
    tokenizer: RowTokenizer,
    sign: Callable[[], None] = lambda: None,
) -> Iterator[Example]:
    """Yield every row as a preview shows it; `sign` is called after each chunk. Raises BadModel."""
    coming = iter(rows)
    while chunk := list(islice(coming, _CHUNK)):
        with refusals(tokenizer):
            yield from encode(chunk, spec.template, spec.train_on, tokenizer)
        sign()


@contextmanager
def refusals(tokenizer: RowTokenizer) -> Iterator[None]:
    try:
        yield
    except ToolsHidden as error:
        raise BadRow(
            "tool_calls_hidden", error.row, "messages", error.reason, NO_TOOLS_HINT
        ) from error
    except TemplateFailed as error:
        hint = 'Use `template` "alpaca".'
        if not tokenizer.chat_template:
            raise BadModel("This model has no chat template.", hint=hint) from error
        message = "This model's chat template cannot render the rows."
        raise BadModel(message, evidence=str(error)[:2000], hint=hint) from error


def tokenizer_of(folder: Path) -> RowTokenizer:
    """Load the tokenizer from a model's files. Raises BadModel where the trainer would."""
    try:
        tokenizer = RowTokenizer.from_folder(folder)
    except Exception as error:  # `tokenizers` raises no narrower one
        raise BadModel("The tokenizer cannot be loaded.", evidence=str(error)[:2000]) from error
    if "eos_token" not in tokenizer.special_tokens:
        raise BadModel("The tokenizer has no EOS token: the model could never learn to stop.")
    return tokenizer
