"""The row format of an upload, detected from its first rows, with the reason in a sentence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.core.datasets.checking import conversations, meanings, rows
from app.core.datasets.checking.codes import CODES
from app.core.datasets.checking.rows import Flaw, check_row, pointed
from app.core.datasets.checking.tool_calls import TOOLS, tools_of
from app.core.datasets.columns import DECIDING, rename, suggest
from app.core.datasets.formats import COLUMNS, Row

LOOKED_AT = 100
"""Rows from which the format is detected."""
_SIGNS = {
    "alpaca": "`instruction` and `output`",
    "prompt_completion": "`prompt` and `completion`",
    "messages": "a list `messages`",
    "sharegpt": "a list `conversations`",
    "text": "`text` and no `instruction`",
}
_PAIR = {"instruction": "prompt", "output": "completion"}
_CHATS = {"messages": "messages", "sharegpt": "conversations"}

_MISSING = {"field_missing", "answer_missing"}


class Shape(NamedTuple):
    """How to read the rows of an upload."""

    row_format: str | None
    """None if it is not recognized; the rows are then read as `alpaca`."""
    reason: str
    columns: Mapping[str, str] = {}
    """The caller's mapping, canonical column to the upload's."""
    sign: str = ""
    """The columns by which the format was detected."""

    @property
    def is_decided(self) -> bool:
        return any(name in self.columns for name in DECIDING)

    @property
    def names(self) -> dict[str, str]:
        """The canonical columns that the upload has under other names, with those names."""
        is_pair = self.row_format == "prompt_completion"
        return {**(_PAIR if is_pair else {}), **self.columns}

    @property
    def used(self) -> frozenset[str]:
        """The columns of the upload that are read."""
        if self.row_format in _CHATS:
            ours: tuple[str, ...] = (_CHATS[self.row_format], "system", *TOOLS)
        elif self.row_format == "text" and self.is_decided:
            ours = ("text",)
        else:
            ours = (*COLUMNS, "tools")
        return frozenset(self.names.get(name, name) for name in ours)


def known(columns: Mapping[str, str]) -> frozenset[str]:
    """Return every column of an upload that may be read, whatever its row format."""
    special = (*TOOLS, "reasoning", *meanings.LABELS, *meanings.PREFERENCES)
    return frozenset((*COLUMNS, *_PAIR.values(), *_CHATS.values(), *special, *columns.values()))


def form_of(value: Any) -> str | None:
    """Return the format of one row, or None if it is not recognized."""
    if not isinstance(value, dict):
        return None
    has_ours = ("instruction" in value) + ("output" in value)
    if has_ours == 2:
        return "alpaca"
    for form, key in _CHATS.items():
        if isinstance(value.get(key), list):
            return form
    if "prompt" in value and "completion" in value:
        return "prompt_completion"
    if has_ours:
        return "alpaca"
    if isinstance(value.get("text"), str):
        return "text"
    # It is not a list: a flaw that the check of the row reports.
    return next((form for form, key in _CHATS.items() if key in value), None)


def detect(values: Sequence[Any], columns: Mapping[str, str]) -> Shape:
    """Return the format that `columns` implies, else the most common one; Alpaca wins a tie."""
    for decided in ("messages", "alpaca", "text"):
        wanted = DECIDING[:2] if decided == "alpaca" else (decided,)
        if any(name in columns for name in wanted):
            named = " and ".join(f"`{name}`" for name in wanted if name in columns)
            return Shape(decided, f"`columns` names {named}.", columns)
    objects = [rename(value, columns) for value in values if isinstance(value, dict)]
    forms = Counter(form for value in objects if (form := form_of(value)))
    if not forms:
        reason = "No row has a known format: `instruction` and `output` were expected."
        return Shape(None, reason, columns)
    form = max(_SIGNS, key=lambda name: forms[name])
    sign = _sign(form, [value for value in objects if form_of(value) == form])
    many = f"{forms[form]} of the first {len(objects)} rows have {sign}."
    return Shape(form, many, columns, sign)


def _sign(form: str, objects: Sequence[dict[str, Any]]) -> str:
    """Return what all of these rows, which have this format, have in common."""
    if form == "alpaca" and not all(each.keys() >= {*rows.REQUIRED} for each in objects):
        return "`instruction` or `output`"
    key = _CHATS.get(form)
    if key and not all(isinstance(each[key], list) for each in objects):
        return f"`{key}`"
    return _SIGNS[form]


def normalize(value: Any, shape: Shape) -> tuple[Row | None, list[Flaw]]:
    """Return the canonical row, or None and its flaws, which use the upload's column names."""
    if not isinstance(value, dict):
        return check_row(value)
    if absent := [name for name in shape.columns.values() if name not in value]:
        hint = suggest(value, shape.columns)
        return None, [_absent(name, hint) for name in dict.fromkeys(absent)]
    mapped = rename(value, shape.columns)
    if flaw := _misfit(mapped, shape):
        return None, [flaw]
    row, flaws = _read(mapped, shape)
    if row is None and _MISSING.intersection(flaw.code for flaw in flaws):
        flaw = meanings.preference_flaw(mapped)
        if flaw is not None:
            return None, [flaw]
    if row is not None and shape.row_format not in _CHATS and "instruction" in row:
        row, flaws = _with_tools(row, mapped, flaws)
    more = meanings.unwanted(value, row, frozenset(shape.columns.values()))
    flaws = [*flaws, *more]
    if any(CODES[flaw.code].severity == "error" for flaw in more):
        row = None
    if not flaws:
        return row, flaws
    is_missing = any(flaw.code == "field_missing" for flaw in flaws)
    hint = suggest(value, shape.columns) if is_missing else ""
    return row, [_renamed(flaw, shape.names, hint) for flaw in flaws]


def find_bad_characters(row: Row, value: dict[str, Any], shape: Shape) -> list[Flaw]:
    """Find invalid characters, by the upload's column names; in a conversation, by message."""
    key = _CHATS.get(shape.row_format or "")
    if key is None:
        flaws = rows.find_bad_characters(row)
    else:
        flaws = conversations.find_bad_characters(rename(value, shape.columns), key)
    return [_renamed(flaw, shape.names, "") for flaw in flaws]


def _read(value: dict[str, Any], shape: Shape) -> tuple[Row | None, list[Flaw]]:
    if shape.row_format in _CHATS:
        return conversations.check_chat(value, _CHATS[shape.row_format])
    if shape.row_format == "prompt_completion":
        if isinstance(value.get("prompt"), list) and isinstance(value.get("completion"), list):
            return conversations.check_halves(value)
        return check_row(rename(value, _PAIR))
    if shape.row_format == "text" and shape.is_decided:
        value = {"text": value["text"]}
        if not isinstance(value["text"], str):
            return None, [rows.wrong_type("text", value["text"])]
    return check_row(value)


def _with_tools(
    row: Row, value: dict[str, Any], flaws: list[Flaw]
) -> tuple[Row | None, list[Flaw]]:
    """Add the tools of a row of instruction and output."""
    if "messages" in row or "tools" in row:
        return row, flaws
    try:
        tools = tools_of({"tools": value.get("tools")})
    except rows.Wrong as wrong:
        return None, [*flaws, wrong.flaw]
    return ({**row, "tools": tools} if tools else row), flaws


def _misfit(value: dict[str, Any], shape: Shape) -> Flaw | None:
    """Return a flaw if the row has another format than the file's rows."""
    wanted, form = shape.row_format, form_of(value)
    if shape.is_decided or wanted is None or form in (None, wanted):
        return None
    if (wanted, form) == ("text", "alpaca") and "text" in value:
        return None
    message = f"This row has {_sign(form, [value])}; the file's rows have {shape.sign}."
    return Flaw("", "rows_mixed", message)


def _absent(name: str, hint: str) -> Flaw:
    shown = pointed(name)
    return Flaw(shown, "field_missing", f"`{shown}`, named in `columns`, is missing.", hint)


def _renamed(flaw: Flaw, names: Mapping[str, str], hint: str) -> Flaw:
    if flaw.code == "field_missing":
        flaw = flaw._replace(hint=hint)
    first, slash, rest = flaw.field.partition("/")
    if first not in names:
        return flaw
    name = pointed(names[first])
    message = flaw.message.replace(f"`{first}`", f"`{name}`")
    return flaw._replace(field=name + slash + rest, message=message)
