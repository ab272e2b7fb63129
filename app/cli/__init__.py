"""The command `tunesmith`. Each command imports what it needs when it is called."""

import sys

from app.cli.commands import app
from app.core.errors import Failure

__all__ = ["app", "main"]


def main() -> None:
    try:
        app(prog_name="tunesmith")
    except Failure as failure:
        from app.cli.output import complain

        complain(failure)
        sys.exit(1)
