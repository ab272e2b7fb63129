"""The API, what it shares with the workers, and the command line."""

__version__ = "0.1.0"
"""The only place: pyproject.toml, the contract, worker rows and wheels take it from here."""
