"""Custom templates: `<name>.jinja` in TEMPLATES_DIR, each tested in a sandboxed child.

This process never renders one: a template is a program, and one that hangs must not block the
caller.
"""

import json
import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from app.core.errors import Problem
from app.core.sandbox import child
from app.core.sandbox.child import ChildFailed, Limits
from app.core.templates.template import Template, ours

MAX_BYTES = 64 << 10
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_COMMENT = re.compile(r"\s*\{#-?(.{1,200}?)-?#\}")
_USUAL = "A custom template of this server."
_LIMITS = Limits(memory_bytes=1 << 30, cpu_seconds=3, wall_seconds=20)
_SLOW = Problem(
    "",
    "template_too_costly",
    "Rendering a few lines takes too much time or memory.",
    "Remove endless loops and code that multiplies text.",
)


class _Tried(NamedTuple):
    special_tokens: tuple[str, ...]
    problems: tuple[Problem, ...]


class _TimedOut(Exception):
    """Killed at the limit of wall time, which may be the fault of a busy machine."""


def names(folder: Path | None) -> list[str]:
    if folder is None or not folder.is_dir():
        return []
    # Opening a named pipe would block.
    return sorted(path.stem for path in folder.glob("*.jinja") if path.is_file())


def load_all(folder: Path | None) -> list[Template]:
    return [load(folder, name) for name in names(folder)]


def load(folder: Path | None, name: str) -> Template:
    """Load a template that `names` returned; the comment it begins with is its description.

    What is wrong with it is in its `problems`.
    """
    assert folder is not None
    found = _read(folder / f"{name}.jinja")
    if isinstance(found, Problem):
        return Template(name, _USUAL, None, is_custom=True, problems=(found,))
    said = _COMMENT.match(found)
    description = said[1].strip() if said else _USUAL
    if name in ours() or not _NAME.fullmatch(name):
        message = "Use lower-case letters, digits, `.`, `_` and `-`, and no built-in name."
        problem = Problem("", "template_name_invalid", message, "Rename the file.")
        return Template(name, description, found, is_custom=True, problems=(problem,))
    try:
        tried = _try_out(found)
    except _TimedOut:
        tried = _Tried((), (_SLOW,))
    return Template(name, description, found, tried.special_tokens, True, tried.problems)


def _read(path: Path) -> str | Problem:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            message = f"The file is larger than {MAX_BYTES:,} bytes."
            return Problem("", "template_too_large", message, "A chat template is a few lines.")
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Problem("", "template_invalid", "The file cannot be read as UTF-8.", str(error))


@lru_cache(maxsize=64)
def _try_out(text: str) -> _Tried:
    """Test a template in a child. Cached by content: the same text gives the same result."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-template-") as folder:
        out = Path(folder) / "found.json"
        try:
            child.run("app.core.templates.probe", [out], [text.encode()], _LIMITS)
        except ChildFailed as failed:
            if failed.status == -9:
                raise _TimedOut from failed
            return _Tried((), (_SLOW,))
        found = json.loads(out.read_text(encoding="utf-8"))
    problems = tuple(Problem("", *each) for each in found["problems"])
    return _Tried(tuple(found["special_tokens"]), problems)
