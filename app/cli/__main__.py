"""`python -m app.cli`: the command `tunesmith` without an install."""

from app.cli import main

main()
