"""The server's own templates: `<name>.jinja` in TEMPLATES_DIR, each tried out in a limited child.

Nothing here renders one: a template is a program, and one that hangs must not hang who asks.
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
_USUAL = "One of this server's own."
_LIMITS = Limits(memory_bytes=1 << 30, cpu_seconds=3, wall_seconds=20)
_SLOW = Problem(
    "",
    "template_too_costly",
    "It takes more time or memory than a text of a few lines needs.",
    "Leave out what loops without end or multiplies texts.",
)


class _Tried(NamedTuple):
    special_tokens: tuple[str, ...]
    problems: tuple[Problem, ...]


class _Overtaken(Exception):
    """Ended by the clock, which a busy machine may be to blame for."""


def names(folder: Path | None) -> list[str]:
    if folder is None or not folder.is_dir():
        return []
    # A pipe would keep who opens it.
    return sorted(path.stem for path in folder.glob("*.jinja") if path.is_file())


def load_all(folder: Path | None) -> list[Template]:
    return [load(folder, name) for name in names(folder)]


def load(folder: Path | None, name: str) -> Template:
    """One that `names` gave, described by the comment it opens with.

    What is wrong with it stands in its `problems`.
    """
    assert folder is not None
    found = _read(folder / f"{name}.jinja")
    if isinstance(found, Problem):
        return Template(name, _USUAL, None, is_custom=True, problems=(found,))
    said = _COMMENT.match(found)
    description = said[1].strip() if said else _USUAL
    if name in ours() or not _NAME.fullmatch(name):
        message = "A name is lower-case letters, digits, `.`, `_` and `-`, and none of ours."
        problem = Problem("", "template_name_invalid", message, "Rename the file.")
        return Template(name, description, found, is_custom=True, problems=(problem,))
    try:
        tried = _try_out(found)
    except _Overtaken:
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
    """Kept by content: the same text gives the same verdict."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-template-") as folder:
        out = Path(folder) / "found.json"
        try:
            child.run("app.core.templates.probe", [out], [text.encode()], _LIMITS)
        except ChildFailed as failed:
            if failed.status == -9:
                raise _Overtaken from failed
            return _Tried((), (_SLOW,))
        found = json.loads(out.read_text(encoding="utf-8"))
    problems = tuple(Problem("", *each) for each in found["problems"])
    return _Tried(tuple(found["special_tokens"]), problems)
