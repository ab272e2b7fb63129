"""The rows of a dataset as the trainer will see them, as callers see it."""

from typing import Literal

from app.api.schemas.base import Answer


class Token(Answer):
    """One token of a row."""

    id: int
    """Number of the token in the model's vocabulary."""
    text: str
    """Text that the token adds. A character that takes several tokens stands with the last of
    them; the others have the empty string."""
    trained: bool
    """Whether the token counts in the loss."""


class EndOut(Answer):
    """The end-of-sequence (EOS) token of a row, which teaches the model to stop."""

    present: bool
    """Whether the row as trained ends with the EOS token."""
    trained: bool
    """Whether that EOS token counts in the loss."""
    lost: bool
    """Whether the EOS token is cut off at `max_length`."""


class CutOut(Answer):
    """The end of a row that `max_length` cuts off."""

    num_tokens: int
    """Number of tokens that are cut off."""
    text: str
    """Text of those tokens."""


class PieceOut(Answer):
    """One of the pieces that a row is split into."""

    num_tokens: int
    """Number of tokens in the piece."""
    num_trained: int
    """Number of its tokens that count in the loss. A piece where that is 0 is left out of
    training."""


class PreviewRow(Answer):
    """One row, made by the code that makes the batches of the trainer."""

    row: int
    """Number of the row, counted from 0 over the valid rows, as GET /datasets/{dataset_id}/rows
    does."""
    text: str
    """Text of the row as the template renders it, up to the last answer that is trained."""
    num_tokens: int
    """Number of tokens of the row within `max_length`; if it is split, of all its pieces."""
    num_trained: int
    """Number of those tokens that count in the loss."""
    eos: EndOut
    """What becomes of the end-of-sequence token."""
    dropped: bool
    """Whether the row is left out of training: its prompt alone fills `max_length`, or none of its
    answers is trained, or it is longer and `on_long_row` is `drop`."""
    truncated: CutOut | None
    """What `max_length` cuts off; null where the row fits or is split."""
    pieces: list[PieceOut]
    """Pieces that the row is split into, in the order of its tokens; the first 1,000. Where it is
    not split, a single one."""
    num_pieces: int
    """Number of pieces, those that are not listed included."""
    unlike_prompt: bool
    """Whether the chat template renders the prompt for an answer differently from how the rendered
    conversation goes on, as templates that open a thought do. The answer is then trained after that
    prompt."""
    untrained_answers: int
    """Number of answers of the row that are to be trained and are not, because the chat template
    writes them otherwise once the conversation goes on, or not at all."""
    tokens: list[Token]
    """Tokens of the row. An answer lists 50,000 in all: of a row that would exceed that, the first
    ones; `num_tokens` counts all."""


class PreviewOut(Answer):
    """Rows as the trainer will see them, by the code that makes its batches."""

    dataset: str
    """Id of the dataset."""
    model: str
    """Name of the model whose tokenizer was used."""
    template: str
    """Name of the template that rendered the rows."""
    train_on: Literal["completion", "all"]
    """Tokens that count in the loss: `completion` the answers alone, `all` the prompts as well."""
    max_length: int
    """Largest number of tokens in a sequence."""
    packing: bool
    """Whether rows are packed."""
    on_long_row: Literal["split", "truncate", "drop"]
    """What becomes of rows longer than `max_length`."""
    spelled_out: list[str]
    """Special tokens of the template that this model does not know as one token each: it sees them
    as several ordinary tokens."""
    num_rows: int
    """Number of valid rows in the whole dataset."""
    has_more: bool
    """Whether rows that were asked for are missing because the answer would be too long or, where
    none were named, whether valid rows follow."""
    data: list[PreviewRow]
    """Rows of the preview."""
