"""The errors of a dataset's stored report, for who has to say why its rows are not used."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.core import store_keys
from app.core.storage import Storage

Found = Mapping[str, Any]


def errors(storage: Storage, dataset_id: str) -> list[Found]:
    """As listed in the report, which names the first hundreds; empty where there is none."""
    try:
        report = json.loads(b"".join(storage.read(store_keys.report(dataset_id))))
    except FileNotFoundError:
        return []
    found = [each for each in report["problems"] if each.get("severity", "error") == "error"]
    return found or list(report["problems"])


def rows(found: Sequence[Found]) -> list[int]:
    """Each once, in order."""
    return sorted({each["row"] for each in found if each.get("row") is not None})


def sentence(found: Found) -> str:
    """With its place: `row 3 (line 4): ...`."""
    row, line = found.get("row"), found.get("line")
    in_line = "" if line is None else f" (line {line})"
    where = "" if row is None else f"row {row}{in_line}: "
    return f"{where}{found.get('message', '')}"
