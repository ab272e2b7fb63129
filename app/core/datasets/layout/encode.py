"""Encode rows chunk by chunk, for trainer and dry run; what cannot be encoded raises BadModel."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from app.core.datasets.formats import Row
from app.core.datasets.layout.leaving_out import OTHER_TEMPLATE, cannot_render
from app.core.datasets.tokens.chat import RowRefused, TemplateFailed
from app.core.datasets.tokens.encoding import Example, encode
from app.core.datasets.tokens.templates import is_chat
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.jobs.failures import BadModel
from app.core.jobs.spec import JobSpec

_CHUNK = 1000
"""Rows tokenized at once, between two signs of progress."""


def encode_rows(
    rows: Iterable[tuple[int, Row]],
    spec: JobSpec,
    tokenizer: RowTokenizer,
    sign: Callable[[], None] = lambda: None,
) -> Iterator[Example]:
    """Yield every row as a preview shows it; `sign` is called after each chunk. Raises BadModel.

    A row that the chat template refuses, or of which it leaves out a tool call, has no tokens;
    `splits.lay_out` decides about it.
    """
    coming = iter(rows)
    while chunk := list(islice(coming, _CHUNK)):
        with refusals(tokenizer):
            yield from encode_chunk(chunk, spec, tokenizer)
        sign()


def encode_chunk(
    rows: Sequence[tuple[int, Row]], spec: JobSpec, tokenizer: RowTokenizer
) -> list[Example]:
    """Encode rows at once or, if the template refuses one, each by itself."""
    try:
        return encode(rows, spec.template, spec.train_on, tokenizer)
    except RowRefused as error:
        if is_chat(spec.template) and not tokenizer.chat_template:
            raise
        if len(rows) == 1:
            return [_refused(error)]
        middle = len(rows) // 2
        halves = (rows[:middle], rows[middle:])
        return [each for half in halves for each in encode_chunk(half, spec, tokenizer)]


def _refused(error: RowRefused) -> Example:
    lacking = frozenset({error.part} if error.part else ())
    return Example([], [], error.row, refused=error.reason, num_answers=0, hidden=lacking)


@contextmanager
def refusals(tokenizer: RowTokenizer) -> Iterator[None]:
    try:
        yield
    except TemplateFailed as error:
        if not tokenizer.chat_template:
            raise BadModel("This model has no chat template.", hint=OTHER_TEMPLATE) from error
        raise cannot_render(str(error)) from error


def tokenizer_of(folder: Path) -> RowTokenizer:
    """Load the tokenizer from a model's files. Raises BadModel where the trainer would."""
    try:
        tokenizer = RowTokenizer.from_folder(folder)
    except Exception as error:  # `tokenizers` raises no narrower one
        raise BadModel("The tokenizer cannot be loaded.", evidence=str(error)[:2000]) from error
    if "eos_token" not in tokenizer.special_tokens:
        raise BadModel("The tokenizer has no EOS token: the model could never learn to stop.")
    return tokenizer
