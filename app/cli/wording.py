"""The server's errors in the words of the command line: commands, not requests."""

import re
from http import HTTPStatus
from typing import Any

_COMMANDS: tuple[tuple[str, str], ...] = (
    (r"GET /datasets/(ds_\w+)/report", r"`tunesmith datasets \1`"),
    (r"GET /(jobs|datasets|models|queue)(?![/\w])", r"`tunesmith \1`"),
    (r"GET /jobs/(job_\w+)(?![/\w])", r"`tunesmith jobs \1`"),
    (r"POST /jobs/(job_\w+)/cancel", r"`tunesmith cancel \1`"),
    (r"GET /openapi\.json", r"{url}/docs"),
    (r"GET (/[\w/.\-]+)", r"{url}\1"),
    (r"(?:; )?see `errors`\.", ":"),
)
_ADVICE = {
    "job_not_found": "`tunesmith jobs` lists them.",
    "dataset_not_found": "`tunesmith datasets` lists them.",
}


def sentence(text: str, url: str) -> str:
    """Replace the requests that a text names by the commands that make them."""
    for request, command in _COMMANDS:
        text = re.sub(request, command.replace("{url}", url.replace("\\", "")), text)
    return text


def detail(document: dict[str, Any], path: str, url: str) -> str:
    """Return the sentence of a problem document."""
    told = str(document.get("detail") or document.get("title") or "The server refused this.")
    if path == "/jobs":
        told = told.replace("This request has", "The spec has")
    return f"{sentence(told, url)} {_ADVICE.get(str(document.get('code')), '')}".strip()


def no_document(status: int, url: str) -> str:
    """Return what to say about an error response that no Tunesmith server has written."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "unknown status"
    return (
        f"{url} answered with an error that does not come from Tunesmith ({status} {phrase}): a "
        "proxy before it, or another program on that port. Check --url or TUNESMITH_URL."
    )


def field(pointer: str) -> str:
    """Return a JSON pointer as --set spells it: `training.learning_rate`."""
    if not pointer.startswith("/"):
        return pointer.removeprefix("?").removeprefix("path:")
    parts = pointer[1:].replace("~1", "/").replace("~0", "~").split("/")
    return ".".join(parts)
