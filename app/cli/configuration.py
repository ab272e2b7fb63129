"""Settings of a command: from the environment, overridden by command-line options."""

from typing import Any

from pydantic import ValidationError

from app.core.errors import Invalid, Problem
from app.core.settings import Settings


def load(**given: Any) -> Settings:
    """Load the settings. Options that were not given (None) fall back to the environment."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = [
            Problem(_variable(issue["loc"]), issue["type"], issue["msg"])
            for issue in error.errors()
        ]
        raise Invalid("Some settings are invalid.", errors=problems) from None


def _variable(location: tuple[int | str, ...]) -> str:
    return "TUNESMITH_" + str(location[0]).upper() if location else "TUNESMITH_*"
