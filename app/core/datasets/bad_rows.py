"""Errors from a dataset's stored report, to explain why its rows are not used."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.core import store_keys
from app.core.storage import Storage

Found = Mapping[str, Any]


def errors(storage: Storage, dataset_id: str) -> list[Found]:
    """Return the errors that the report lists (the first 800), or all listed problems if none is
    an error. Empty if there is no report.
    """
    try:
        report = json.loads(b"".join(storage.read(store_keys.report(dataset_id))))
    except FileNotFoundError:
        return []
    found = [each for each in report["problems"] if each.get("severity", "error") == "error"]
    return found or list(report["problems"])


def rows(found: Sequence[Found]) -> list[int]:
    """Return the distinct row numbers, sorted."""
    return sorted({each["row"] for each in found if each.get("row") is not None})


def sentence(found: Found) -> str:
    """Return the message with its position: `row 3 (line 4): ...`."""
    row, line = found.get("row"), found.get("line")
    in_line = "" if line is None else f" (line {line})"
    where = "" if row is None else f"row {row}{in_line}: "
    return f"{where}{found.get('message', '')}"
