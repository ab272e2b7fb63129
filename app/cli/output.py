"""Output for people: lines on standard output; errors with their hints on standard error."""

import sys
from typing import TYPE_CHECKING

from app.core.errors import Failure

if TYPE_CHECKING:
    from rich.console import Console


def print_failure(failure: Failure) -> None:
    """Print the message of a failure, then each of its problems with its hint."""
    write = sys.stderr.write
    title = failure.extra.get("title")
    write(f"error: {title}\n" if title else "")
    write(f"{'  ' if title else 'error: '}{failure.detail}\n")
    for problem in failure.errors:
        write(f"  {problem.pointer or '(whole document)'}: {problem.message}\n")
        if problem.hint:
            write(f"    hint: {problem.hint}\n")


def terminal_or_lines() -> "Console":
    """Return a console. Without a terminal, it is wide enough not to wrap an id or a hash."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=140)


def say(line: str) -> None:
    """Print one line and flush, so that it appears immediately even through a pipe."""
    print(line, flush=True)
