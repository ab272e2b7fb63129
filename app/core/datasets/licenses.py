"""What a licence named on the hub means for who trains on the data, in one sentence."""

import re

_NONCOMMERCIAL = re.compile(r"(^|[-_ ])(nc|non-?commercial)([-_ .]|$)", re.IGNORECASE)


def note(license_: str | None) -> str | None:
    """None where there is nothing to say."""
    if license_ is None:
        return "The repository names no licence: ask its owner before you use it."
    if _NONCOMMERCIAL.search(license_):
        return (
            f"{license_} excludes commercial use, of the data and so perhaps of what is trained "
            "on it."
        )
    return None
