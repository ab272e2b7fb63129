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
        yield from _about_dropped(laid)
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
        ("rows_split", laid.split, "were split at `max_length`; no piece sees the others"),
        ("rows_too_long", laid.too_long, "are left out, as they exceed `max_length`"),
    ]
    for code, rows, what in effects:
        if rows.count:
            message = f"{rows.count} of {laid.train.rows} rows {what} ({_numbers(rows)})."
            yield Problem(_LENGTH, code, message, _choices(laid))
    if laid.tokens_lost:
        message = f"{laid.tokens_lost} tokens are not trained on."
        yield Problem(_LENGTH, "tokens_lost", message)


def _choices(laid: LayoutFigures) -> str:
    costs = laid.long_row_costs
    if not costs:
        return "Raise `max_length`."
    lost = ", ".join(f"`{choice}` {cost.tokens_lost:,}" for choice, cost in costs.items())
    return f"Raise `max_length`, or choose an `on_long_row`, by the tokens it loses: {lost}."


def _about_dropped(laid: LayoutFigures) -> Iterator[Problem]:
    """Yield warnings about rows that are left out."""
    total, long, refused = laid.train.rows, laid.long_prompts, laid.refused
    if long.count:
        message = (
            f"{long.count} of {total} rows are left out: their prompt alone fills `max_length` "
            f"({_numbers(long)})."
        )
        length = laid.keeping_length
        hint = f"Raise `max_length` to {length} to keep them." if length else "Shorten the prompts."
        yield Problem(_LENGTH, "rows_dropped", message, hint)
    if other := laid.dropped.count - long.count:
        message = f"{other} of {total} rows are left out: they have no token to train on."
        yield Problem("/dataset", "rows_dropped", message, "Every answer has weight 0 or is empty.")
    if refused.count:
        message = (
            f"{refused.count} of {total} rows are left out: the template refuses them "
            f"({_numbers(refused)}): {laid.refusal[:300]}."
        )
        yield Problem("/on_invalid_row", "rows_refused", message, "Change them to keep them.")


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
    if laid.answers_not_found:
        message = (
            f"{laid.answers_not_found} of {laid.answers} answers are not trained: the template "
            f"tells them otherwise once the conversation goes on ({_numbers(laid.not_found)})."
        )
        hint = "Use another template, or rows that end with the answer to train."
        yield Problem("/template", "answers_not_trained", message, hint)
    unlike = laid.unlike_prompt.count - laid.not_found.count
    if unlike > 0:
        message = (
            f"In {unlike} of {laid.train.rows} rows the chat template's generation prompt differs "
            "from its rendering of the whole chat: the last answer is trained unchanged, after the "
            "generation prompt, earlier answers as the whole chat has them."
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
