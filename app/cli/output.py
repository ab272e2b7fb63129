"""Output for people: lines on standard output; errors with their hints on standard error."""

import json
import sys
from typing import TYPE_CHECKING

from app.core.errors import Failure

if TYPE_CHECKING:
    from rich.console import Console


def print_failure(failure: Failure) -> None:
    """Print the message of a failure, then each of its problems with its hint."""
    from app.cli.wording import field

    _complain("", f"error: {failure.detail}")
    for problem in failure.errors:
        where = f"{field(problem.pointer)}: " if problem.pointer else ""
        _complain("  ", f"{where}{problem.message}")
        if problem.hint:
            _complain("    ", f"hint: {problem.hint}")


def _complain(indent: str, text: str) -> None:
    from app.cli.table import terminal_width, wrap

    width = terminal_width(sys.stderr)
    for line in wrap(text, width and max(width - len(indent), 20)):
        sys.stderr.write(f"{indent}{line}\n")


def print_json(value: object) -> None:
    """Print what the server answered, for programs."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def terminal_or_lines() -> "Console":
    """Return a console. Without a terminal, it is wide enough not to wrap an id or a hash."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=140)


def say(line: str) -> None:
    """Print one line and flush, so that it appears immediately even through a pipe."""
    print(line, flush=True)
