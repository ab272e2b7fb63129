"""Make untrusted text safe to show."""

_MAX = 200


def escape(text: str) -> str:
    """Return at most 200 characters, none of which moves a cursor or breaks an encoder."""
    text = text[:_MAX]
    if text.isprintable():
        return text
    shown = "".join(c if c.isprintable() else _escape_one(c) for c in text)
    return shown[:_MAX]


def _escape_one(character: str) -> str:
    return character.encode("unicode_escape").decode()
