"""Convert a parsed value to a canonical row, or report everything wrong with it."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from app.core.datasets.formats import COLUMNS, Other, Row
from app.core.datasets.shown import escape

REQUIRED = ("instruction", "output")


class Flaw(NamedTuple):
    """One problem in a row, or a note about it."""

    field: str
    """Path within the row: "" is the row itself, "history/0" an item."""
    code: str
    message: str
    hint: str = ""


class Wrong(Exception):
    """The first flaw of a row that is read from the top."""

    def __init__(self, field: str, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.flaw = Flaw(field, code, message, hint)


def check_row(value: Any) -> tuple[Row | None, list[Flaw]]:
    """Return the canonical row, or None and its flaws. A valid row may have flaws of level info."""
    if not isinstance(value, dict):
        return None, [_not_an_object(value)]
    flaws: list[Flaw] = []
    row: Row = {}
    is_text_only = isinstance(value.get("text"), str) and not any(key in value for key in REQUIRED)
    if is_text_only:
        flaws.append(Flaw("", "text_only", "Some rows have `text` and no `instruction`."))
    else:
        flaws += [flaw for key in REQUIRED if (flaw := _require(value, key))]
    for key in COLUMNS:
        if key in value:
            flaws += _take(row, key, value[key])
    if "weights" in row and not any(flaw.code in _ERRORS for flaw in flaws):
        flaws += _check_weights(row)
    if not is_text_only and _is_reasoning(value.get("reasoning"), row):
        row["reasoning"] = value["reasoning"]
    if is_text_only and not row["text"].strip():
        flaws.append(Flaw("text", "output_empty", "`text` is empty."))
    return (None if any(flaw.code in _ERRORS for flaw in flaws) else row), flaws


def _take(row: Row, key: str, found: Any) -> list[Flaw]:
    """Put a value into the row, or return its flaws, unless `_require` reports them."""
    if key == "history" and found is not None:
        row["history"] = found
        return _check_history(found)
    if key == "weights" and found is not None:
        row["weights"] = found
        return []
    if isinstance(found, str):
        row[key] = found  # type: ignore[literal-required]
        return []
    if key in REQUIRED:
        return []
    if found is not None:
        return [wrong_type(key, found)]
    if key == "input":
        row["input"] = ""
    return [Flaw(key, "null_read_as_empty", f"`{key}` is null in some rows.")]


def find_bad_characters(row: Row) -> list[Flaw]:
    """Find strings that contain a lone surrogate or a NUL."""
    return [flaw for field, text in _strings(row) for flaw in find_bad(field, text)]


def find_bad(field: str, text: str) -> list[Flaw]:
    flaws = []
    if "\0" in text:
        flaws.append(Flaw(field, "nul_character", f"`{field}` contains a NUL character."))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        flaws.append(Flaw(field, "lone_surrogate", f"`{field}` contains {half} without its pair."))
    return flaws


def dump(row: Row) -> bytes:
    """Return a line of the canonical file. Raises UnicodeEncodeError for a lone surrogate."""
    return (_dumps(row) + "\n").encode()


def show(value: Any) -> str:
    """Return the beginning of a value as JSON, for a row without source text."""
    return _show(value)[:200]


_show = json.JSONEncoder(ensure_ascii=False, default=lambda value: name_type(value)).encode
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_ERRORS = frozenset(
    {
        "not_an_object",
        "field_missing",
        "field_null",
        "field_type",
        "history_invalid",
        "instruction_empty",
        "output_empty",
        "weight_invalid",
        "nothing_trained",
    }
)


def _require(value: dict[str, Any], key: str) -> Flaw | None:
    if key not in value:
        return Flaw(key, "field_missing", f"`{key}` is missing.")
    text = value[key]
    if text is None:
        return Flaw(key, "field_null", f"`{key}` is null.")
    if not isinstance(text, str):
        return wrong_type(key, text)
    if not text or text.isspace():
        return Flaw(key, f"{key}_empty", f"`{key}` is empty.")
    return None


def wrong_type(key: str, value: Any) -> Flaw:
    hint = ""
    if isinstance(value, list) and key != "history":
        hint = "Write one object per row, not one list per column."
    elif isinstance(value, dict) and value and all(map(str.isdecimal, value)):
        hint = "Write one object per row, not per column: `df.to_json(orient='records')`."
    return Flaw(key, "field_type", f"`{key}` is {name_type(value)}, not a string.", hint)


def name_type(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Other):
        return f"of type {value.kind}"
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a string", bytes: "bytes"}
    return names.get(type(value), "a number")


def _not_an_object(value: Any) -> Flaw:
    hint = ""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        hint = "The row is JSON inside a string: it was encoded twice; encode it once."
    return Flaw("", "not_an_object", f"The row is {name_type(value)}, not an object.", hint)


def _check_history(history: Any) -> list[Flaw]:
    if not isinstance(history, list):
        message = f"`history` is {name_type(history)}, not a list of pairs."
        return [Flaw("history", "history_invalid", message)]
    return [
        Flaw(f"history/{index}", "history_invalid", "A turn of `history` is not two strings.")
        for index, turn in enumerate(history)
        if not (isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn))
    ]


def is_usual(weights: list[int]) -> bool:
    """Whether only the last answer is trained, which is the default."""
    return weights[-1] == 1 and not any(weights[:-1])


def _is_reasoning(found: Any, row: Row) -> bool:
    """Whether a column `reasoning` is that of a canonical row: a thought for each answer."""
    return (
        isinstance(found, list)
        and len(found) == len(row.get("history", [])) + 1
        and all(isinstance(each, str) for each in found)
        and any(found)
    )


def _check_weights(row: Row) -> list[Flaw]:
    """Check `weights`, and remove them from the row if they equal the default."""
    given: Any = row["weights"]
    expected = len(row.get("history", [])) + 1
    good = isinstance(given, list) and len(given) == expected
    if not good or not all(type(each) in (int, float) and each in (0, 1) for each in given):
        message = f"`weights` is not a list of {expected} numbers, each 0 or 1."
        hint = "Give one for each answer in `history`, in order, and one for `output`."
        return [Flaw("weights", "weight_invalid", message, hint)]
    row["weights"] = [int(each) for each in given]
    if not any(given):
        return [Flaw("weights", "nothing_trained", "Every answer has weight 0.")]
    if is_usual(row["weights"]):
        del row["weights"]
    return []


def _strings(row: Row) -> list[tuple[str, str]]:
    plain = [(key, text) for key, text in row.items() if isinstance(text, str)]
    turns = enumerate(row.get("history", []))
    found = plain + [(f"history/{at}", text) for at, turn in turns for text in turn]
    for key in ("reasoning", "tools", "messages"):
        found += [(key, text) for text in texts_of(row.get(key))]
    return found


def pointed(name: str) -> str:
    """Return a name as a part of a JSON pointer, safe to show."""
    return escape(name[:80].replace("~", "~0").replace("/", "~1"))


def texts_of(value: Any) -> Iterator[str]:
    """Yield every string of a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from texts_of(each)
