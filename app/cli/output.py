"""What people read: errors with their hints, on standard error."""

import sys
from typing import TYPE_CHECKING

from app.core.errors import Failure

if TYPE_CHECKING:
    from rich.console import Console


def complain(failure: Failure) -> None:
    """The sentence, then each thing that is wrong and what to do about it."""
    write = sys.stderr.write
    title = failure.extra.get("title")
    write(f"error: {title}\n" if title else "")
    write(f"{'  ' if title else 'error: '}{failure.detail}\n")
    for problem in failure.errors:
        write(f"  {problem.pointer or '(whole document)'}: {problem.message}\n")
        if problem.hint:
            write(f"    hint: {problem.hint}\n")


def terminal_or_lines() -> "Console":
    """Where there is no terminal, lines are long enough that an id or a hash is not broken."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=140)


def say(line: str) -> None:
    """One line of what is going on, seen at once even through a pipe."""
    print(line, flush=True)
