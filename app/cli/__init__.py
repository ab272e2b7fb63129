"""The command `tunesmith`. Each command imports what it needs when it is called."""


def main() -> None:
    import sys

    from app.cli.commands import cli
    from app.core.errors import Failure

    try:
        cli(prog_name="tunesmith")
    except Failure as failure:
        from app.cli.output import complain

        complain(failure)
        sys.exit(1)
