"""What form the rows of a file have, told from the first of them, with the reason in a sentence."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from app.core.datasets import conversations
from app.core.datasets.formats import Row
from app.core.datasets.rows import Flaw, check_row

LOOKED_AT = 100
"""Rows the form is told from."""
_SIGNS = {
    "alpaca": "`instruction` and `output`",
    "prompt_completion": "`prompt` and `completion`",
    "messages": "a list `messages`",
    "sharegpt": "a list `conversations`",
    "text": "`text` and no `instruction`",
}
_PAIR = {"prompt": "instruction", "completion": "output"}


class Shape(NamedTuple):
    row_format: str | None
    """None where nothing tells: read as `alpaca`."""
    reason: str


def form_of(value: Any) -> str | None:
    """The form of one row; None where nothing tells."""
    if not isinstance(value, dict):
        return None
    has_ours = ("instruction" in value) + ("output" in value)
    if has_ours == 2:
        return "alpaca"
    for key, form in (("messages", "messages"), ("conversations", "sharegpt")):
        if isinstance(value.get(key), list):
            return form
    if "prompt" in value and "completion" in value:
        return "prompt_completion"
    if has_ours:
        return "alpaca"
    return "text" if isinstance(value.get("text"), str) else None


def tell(values: Sequence[Any]) -> Shape:
    """The form most rows have; of two as common the one that stands first in the list."""
    objects = [value for value in values if isinstance(value, dict)]
    forms = Counter(form for value in objects if (form := form_of(value)))
    if not forms:
        return Shape(None, "No row tells its form: `instruction` and `output` were looked for.")
    form = max(_SIGNS, key=lambda name: forms[name])
    many = f"{forms[form]} of the first {len(objects)} rows have {_SIGNS[form]}."
    return Shape(form, many)


def normalize(value: Any, row_format: str) -> tuple[Row | None, list[Flaw]]:
    """The canonical row, or None and why not, with the names the upload has."""
    form = form_of(value)
    fits = form in (None, row_format) or (row_format, form) == ("text", "alpaca")
    if not fits:
        said = f"This row has {_SIGNS[form or 'alpaca']}; the file's rows have "
        return None, [Flaw("", "rows_mixed", f"{said}{_SIGNS[row_format]}.")]
    if isinstance(value, dict) and row_format in ("messages", "sharegpt"):
        return conversations.check_chat(
            value, "messages" if row_format == "messages" else "conversations"
        )
    if isinstance(value, dict) and row_format == "prompt_completion":
        return _check_pair(value)
    row, flaws = check_row(value)
    if row_format == "text" and form == "alpaca" and row is not None and "text" not in row:
        return None, [Flaw("", "rows_mixed", "This row has no `text`; the file's rows have.")]
    return row, flaws


def used_keys(row_format: str | None) -> frozenset[str]:
    """Columns of the upload beside the canonical ones that are read."""
    keys = {"messages": ("messages",), "sharegpt": ("conversations", "system")}
    return frozenset(_PAIR if row_format == "prompt_completion" else keys.get(row_format or "", ()))


def _check_pair(value: dict[str, Any]) -> tuple[Row | None, list[Flaw]]:
    theirs = {ours: name for name, ours in _PAIR.items()}
    row, flaws = check_row({_PAIR.get(key, key): found for key, found in value.items()})
    return row, [_renamed(flaw, theirs) for flaw in flaws]


def _renamed(flaw: Flaw, theirs: dict[str, str]) -> Flaw:
    name = theirs.get(flaw.field)
    if name is None:
        return flaw
    message = flaw.message.replace(f"`{flaw.field}`", f"`{name}`")
    return flaw._replace(field=name, message=message, hint="")
