"""`python -m app.cli`: runs `tunesmith` without installing it."""

from app.cli import main

main()
