"""What people read: errors with their hints, on standard error."""

import sys

from app.core.errors import Failure


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


def say(line: str) -> None:
    """One line of what is going on, seen at once even through a pipe."""
    print(line, flush=True)
