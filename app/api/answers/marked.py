"""Renders a preview for a terminal: the text of each row, with its trained parts marked."""

from collections.abc import Iterator
from itertools import groupby

from app.api.schemas.preview import PreviewOut, PreviewRow

OPEN, CLOSE = "\u27e6", "\u27e7"
"""White square brackets, which hardly any text contains."""


def preview(shown: PreviewOut) -> str:
    what = f"{shown.model}, template {shown.template}, max_length {shown.max_length}"
    marks = f"Trained: {OPEN}like this{CLOSE}."
    split = f" Not single tokens in this vocabulary: {', '.join(shown.spelled_out)}."
    lines = [f"{what}. {marks}{split if shown.spelled_out else ''}", ""]
    return "\n".join([*lines, *(line for row in shown.data for line in _render_row(row))])


def _render_row(row: PreviewRow) -> Iterator[str]:
    facts = [f"{row.num_tokens} tokens", f"{row.num_trained} trained"]
    facts += [f"{row.untrained_answers} answers untrained"] if row.untrained_answers else []
    facts += ["dropped"] if row.dropped else []
    facts += ["EOS lost"] if row.eos.lost else []
    facts += [f"{row.num_pieces} pieces"] if row.num_pieces > 1 else []
    facts += [f"{row.truncated.num_tokens} truncated"] if row.truncated else []
    yield f"--- row {row.row}: {', '.join(facts)}"
    yield _marked(row)
    if more := row.num_tokens - len(row.tokens):
        yield f"--- and {more:,} more tokens"
    if row.truncated:
        yield f"--- truncated: {_text(row.truncated.text)}"
    yield ""


def _marked(row: PreviewRow) -> str:
    parts = []
    for trained, tokens in groupby(row.tokens, lambda token: token.trained):
        text = _text("".join(token.text for token in tokens))
        parts.append(f"{OPEN}{text}{CLOSE}" if trained else text)
    return "".join(parts)


def _text(text: str) -> str:
    return "".join(map(_plain, text))


def _plain(character: str) -> str:
    """Escape a character that would control the terminal."""
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode()
