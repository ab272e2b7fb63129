"""Warnings about a job's rows: what is lost in training, and what looks odd."""

from collections.abc import Iterator

from app.core.datasets.layout.figures import Copies, LayoutFigures, Numbered
from app.core.datasets.tokens.templates import REASONING, TEXT_OF_CALL, TOOLS
from app.core.errors import Problem
from app.core.jobs.spec import JobSpec

_FEW_ROWS = 50
"""OpenAI's guide to fine-tuning: clear improvements come with 50 to 100 examples."""
_FEW_HELD_OUT = 20
"""The standard error of a mean over fewer rows exceeds a fifth of their standard deviation."""
_LENGTH = "/training/max_length"
_OTHER_BASE = 'Use `template` "chat" with a base model whose chat template writes it.'
_HIDDEN = {
    TOOLS: ("tools_hidden", "The template does not write the `tools`", _OTHER_BASE),
    REASONING: (
        "reasoning_hidden",
        "The template does not write the reasoning of all trained answers",
        _OTHER_BASE,
    ),
    TEXT_OF_CALL: (
        "text_of_call_hidden",
        "The chat template leaves out the text beside a tool call",
        "The model learns the call without the text before it.",
    ),
}


def about_rows(
    spec: JobSpec, laid: LayoutFigures | None, copies: Copies | None
) -> Iterator[Problem]:
    if laid is not None:
        yield from _about_number(laid)
        yield from about_length(laid)
        yield from _about_prompt(laid)
        yield from _about_hidden(laid)
    if copies is not None:
        yield from _about_copies(spec, copies)


def about_length(laid: LayoutFigures) -> Iterator[Problem]:
    """Yield warnings about rows that are not trained on in full."""
    effects = [
        ("rows_truncated", laid.truncated, "were cut to `max_length`"),
        ("eos_lost", laid.eos_lost, "lost the end-of-sequence token, which teaches to stop"),
        ("rows_dropped", laid.dropped, "have no token to train on within `max_length`"),
        ("rows_split", laid.split, "were split at `max_length`; no piece sees the others"),
    ]
    for code, rows, what in effects:
        if rows.count:
            message = f"{rows.count} of {laid.train.rows} rows {what} ({_numbers(rows)})."
            yield Problem(_LENGTH, code, message, "Raise `max_length`.")
    if laid.tokens_lost:
        message = f"{laid.tokens_lost} tokens are not trained on."
        yield Problem(_LENGTH, "tokens_lost", message)


def _about_number(laid: LayoutFigures) -> Iterator[Problem]:
    if laid.train.trained_rows < _FEW_ROWS:
        message = f"{laid.train.trained_rows} rows are few: a model learns little but their format."
        hint = f"{_FEW_ROWS} to 100 good rows are a start."
        yield Problem("/dataset", "rows_few", message, hint)
    if laid.held_out is not None and laid.held_out.trained_rows < _FEW_HELD_OUT:
        message = (
            f"{laid.held_out.trained_rows} held-out rows are few: their loss says little about "
            "other rows."
        )
        hint = f"Hold out {_FEW_HELD_OUT} rows or more."
        yield Problem("/validation", "validation_small", message, hint)


def _about_prompt(laid: LayoutFigures) -> Iterator[Problem]:
    if laid.unlike_prompt.count:
        message = (
            f"In {laid.unlike_prompt.count} of {laid.train.rows} rows the chat template's "
            "generation prompt differs from its rendering of the whole chat: the answer is trained "
            "unchanged, after the generation prompt."
        )
        hint = "Templates that open a thinking block do this; the model learns to answer inside it."
        yield Problem("/template", "generation_prompt_differs", message, hint)


def _about_hidden(laid: LayoutFigures) -> Iterator[Problem]:
    for part, rows in laid.hidden.items():
        code, what, hint = _HIDDEN[part]
        message = f"{what} of {rows.count} of {laid.train.rows} rows ({_numbers(rows)})."
        yield Problem("/template", code, message, hint)


def _about_copies(spec: JobSpec, copies: Copies) -> Iterator[Problem]:
    if copies.duplicates:
        message = f"{copies.duplicates} of {copies.rows} rows are exact copies of another row."
        hint = "Remove the copies, unless they are meant to count more."
        yield Problem("/dataset", "duplicate_rows", message, hint)
    if copies.shared:
        message = (
            f"{copies.shared} of {copies.held_out_rows} held-out rows are also trained on: the "
            "validation loss looks better than the model is."
        )
        by_share = spec.validation is not None and spec.validation.fraction is not None
        hint = "Remove the copies first." if by_share else "Remove them from one of the datasets."
        yield Problem("/validation", "validation_overlap", message, hint)


def _numbers(rows: Numbered) -> str:
    more = ", ..." if rows.count > len(rows.first) else ""
    return f"rows {', '.join(map(str, rows.first))}{more}, counted from 0"
