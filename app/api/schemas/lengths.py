"""How long the rows of a dataset are, as callers see it."""

from app.api.schemas.base import Answer


class Histogram(Answer):
    """Number of rows by length. All bins have the same width; the first begins at 0."""

    edges: list[int]
    """Edges of the bins, one more than there are `counts`. A bin holds its lower edge and not its
    upper. Empty where there are no rows."""
    counts: list[int]
    """Number of rows in each bin; at most 50 bins."""


class Distribution(Answer):
    """How the lengths of the rows are distributed, in tokens or in characters."""

    total: int
    """Sum of all lengths."""
    min: int | None = None
    """Length of the shortest row; null where there are no rows."""
    max: int | None = None
    """Length of the longest row; null where there are no rows."""
    mean: float | None = None
    """Arithmetic mean, rounded to two decimals; null where there are no rows."""
    p50: int | None = None
    """Median, by nearest rank: the length of a row that exists. Null where there are no rows."""
    p90: int | None = None
    """90th percentile, by nearest rank; null where there are no rows."""
    p95: int | None = None
    """95th percentile, by nearest rank; null where there are no rows."""
    p99: int | None = None
    """99th percentile, by nearest rank; null where there are no rows."""
    over: int
    """Number of rows longer than `max_length`, taken in this unit."""
    share_over: float
    """Share of the rows that are longer than `max_length`, from 0 to 1."""
    histogram: Histogram
    """Number of rows by length."""


class Loss(Answer):
    """What `max_length` takes away from the rows."""

    rows: int
    """Number of rows that are longer than `max_length` and are cut (without packing) or split (with
    packing)."""
    dropped_rows: int
    """Number of rows that are left out: their prompt alone fills `max_length`, or none of their
    answers is trained."""
    eos_lost_rows: int
    """Number of rows whose end-of-sequence token is cut off, so that they do not teach the model to
    stop. With packing none is."""
    tokens_lost: int
    """Number of tokens that are not trained on because of `max_length`: those cut off, those of
    dropped rows and, with packing, the first token of each further piece, which has no context."""


class LengthsOut(Answer):
    """How long the rows of a dataset are, rendered with a template and tokenized for a model."""

    dataset: str
    """Id of the dataset."""
    model: str
    """Name of the model whose tokenizer counted the tokens."""
    template: str
    """Name of the template that rendered the rows."""
    num_rows: int
    """Number of valid rows."""
    max_length: int
    """Tokens per row that `over`, `cut` and `split` refer to, as requested."""
    characters: Distribution
    """Lengths in characters of the rendered rows, prompt and answer. Here `over` compares
    characters with `max_length`."""
    tokens: Distribution
    """Lengths in tokens, special tokens and the end-of-sequence token included: what `max_length`
    of a job counts."""
    cut: Loss
    """What is lost at `max_length` with `packing: false`: rows are cut off."""
    split: Loss
    """What is lost at `max_length` with `packing: true`: rows are split into pieces."""
