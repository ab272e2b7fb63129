"""Licences of datasets and base models, and which of them a user should read first."""

import re
from collections.abc import Iterator
from pathlib import Path

from app.core.errors import Problem

_FREE = re.compile(
    r"apache-2\.0|mit|bsd(-\d-clause.*)?|isc|cc0-1\.0|cc-by-\d\.\d|cc-by-sa-\d\.\d|unlicense|zlib"
    r"|odc-by|odbl|pddl|cdla-(permissive|sharing)-\d\.\d|wtfpl"
)
"""Hub identifiers of licences that allow every use; their conditions apply to redistribution."""
_NONCOMMERCIAL = re.compile(r"(^|[-_ ])(nc|non-?commercial)([-_ .]|$)", re.IGNORECASE)
_STATED = re.compile(r"^license:[ \t]*[\"']?([\w.+-]{1,100})", re.MULTILINE)
_HEAD_CHARS = 20_000


def note(license_: str | None) -> str | None:
    """Return one sentence on what a licence means for training on the data, or None."""
    if license_ is None:
        return "The repository names no licence: ask its owner before you use it."
    if _NONCOMMERCIAL.search(license_):
        return (
            f"{license_} excludes commercial use of the data, and so perhaps of models trained "
            "on it."
        )
    return None


def of_folder(folder: Path) -> str | None:
    """Return the licence in the metadata of a base model's model card, in lower case, or None."""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD_CHARS)
    except OSError:
        return None
    begin, _, rest = head.partition("---")
    metadata = "" if begin.strip() else rest.partition("\n---")[0]
    stated = _STATED.search(metadata)
    return stated[1].lower() if stated else None


def about(pointer: str, what: str, license: str | None) -> Iterator[Problem]:  # noqa: A002
    if not license or all(_FREE.fullmatch(each.strip().lower()) for each in license.split(",")):
        return
    meaning = note(license) or "It may not allow every use."
    message = f"{what} is under the licence {license[:100]!r}. {meaning[0].upper()}{meaning[1:]}"
    hint = "Read it before you use or pass on the adapter."
    yield Problem(pointer, "license_restricts", message, hint)
