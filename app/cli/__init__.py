"""The command-line interface `tunesmith`. Each command imports what it needs when called."""

import sys

from app.cli.commands import app
from app.core.errors import Failure

__all__ = ["app", "main"]


def main() -> None:
    try:
        app(prog_name="tunesmith")
    except Failure as failure:
        from app.cli.output import print_failure

        print_failure(failure)
        sys.exit(1)
