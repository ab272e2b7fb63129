"""Parse one JSON value strictly; common mistakes get a code instead of the parser's message."""

import json
import re
from collections.abc import Callable
from json.scanner import make_scanner  # in C wherever CPython has it
from typing import Any

_PYTHON_LITERAL = re.compile(r"(None|True|False|undefined|nan|inf)\b")
_COMMENT = re.compile(r"//|/\*|#")
_SPACE = re.compile(r"[ \t\r\n]*")
_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")


class Fault(Exception):
    """What is wrong at one position of a text, with a code."""

    def __init__(
        self, code: str, message: str, *, at: int = 0, hint: str = "", reaches_end: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.at = at
        """Index into the text that was parsed."""
        self.hint = hint
        """Replaces the usual hint of the code."""
        self.reaches_end = reaches_end
        """The text ended before the value did: more text might complete it."""


def parse(text: str) -> Any:
    """Return the single value in a text. Raises Fault."""
    start = skip_space(text, 0)
    value, end = scan(text, start)
    rest = skip_space(text, end)
    if rest == len(text):
        return value
    if text[rest] == "," and skip_space(text, rest + 1) == len(text):
        raise Fault("json_trailing_comma", "A comma follows the object.", at=rest)
    if _COMMENT.match(text, rest):
        raise Fault("json_comment", "A comment follows the value.", at=rest)
    raise Fault("json_extra_data", "More text follows the first value of the line.", at=rest)


def scan(text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at `start`, and its end. Raises Fault."""
    try:
        return _scan_once(text, start)
    except StopIteration as stop:
        raise _fault(text, stop.value, "Expecting value") from None
    except json.JSONDecodeError as error:
        raise _fault(text, error.pos, error.msg) from None
    except RecursionError:
        raise Fault("too_deep", "The row nests lists or objects too deeply.", at=start) from None
    except ValueError:  # int() refuses more than 4,300 digits
        raise Fault(
            "json_invalid", "The row has a number with too many digits.", at=start
        ) from None


def skip_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


def _fault(text: str, at: int, message: str) -> Fault:
    if message.startswith("Unterminated string"):
        return Fault("json_truncated", "The text ends inside a string.", at=at, reaches_end=True)
    if at >= len(text):
        return Fault("json_truncated", "The text ends inside a value.", at=at, reaches_end=True)
    code, sentence = _name(text, at, message)
    return Fault(code, sentence, at=at, reaches_end=_is_cut(text[at : at + 12], message))


def _is_cut(rest: str, message: str) -> bool:
    """Whether the text may have ended inside a literal or an escape, which is reported whole."""
    if message.startswith("Invalid \\u"):
        return len(rest) < 6 and '"' not in rest
    return any(literal.startswith(rest) for literal in _LITERALS)


def _name(text: str, at: int, message: str) -> tuple[str, str]:
    """Return the code and the message for a syntax error that the parser found at `at`."""
    here, before = text[at], text[max(0, at - 200) : at].rstrip()
    if message.startswith("Invalid control character"):
        return "json_control_character", f"There is a raw {_show(here)} inside a string."
    if message.startswith("Invalid \\"):
        return "json_bad_escape", "A backslash does not begin a valid JSON escape."
    if here == "'":
        return "json_single_quotes", "There are single quotes where JSON requires double quotes."
    if _COMMENT.match(text, at):
        return "json_comment", "There is a comment inside the value."
    if literal := _PYTHON_LITERAL.match(text, at):
        return "json_python_literal", f"{literal.group()} is not JSON."
    if before.endswith(",") and here in "}]":
        return "json_trailing_comma", "There is a comma before the closing bracket."
    # Python 3.13 and later report the comma itself.
    if here == "," and text[at + 1 : at + 200].lstrip()[:1] in ("}", "]"):
        return "json_trailing_comma", "There is a comma before the closing bracket."
    if message.startswith("Expecting ',' delimiter") and here in '"{[':
        return "json_missing_comma", "There is no comma between two values."
    return "json_invalid", f"Not JSON: {message[0].lower()}{message[1:]}, found {_show(here)}."


def _show(character: str) -> str:
    names = {"\n": "line break", "\t": "tab", "\r": "carriage return", "\0": "NUL"}
    return names.get(character, ascii(character))


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Fault("json_duplicate_key", f"The key {twice[:80]!a} occurs twice.")
    return made


def _constant(name: str) -> float:
    raise Fault("json_not_finite", f"{name} is not JSON.")


_scan_once: Callable[[str, int], tuple[Any, int]] = make_scanner(
    json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)  # type: ignore[arg-type]
)
