"""Columns and types of an upload as the `datasets` library (5.2) infers and prints them.

Inferred from the values as its readers do: pyarrow for JSON, pandas for CSV. A column of mixed
types, and one of objects whose keys differ, is `Json` there.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from app.core.datasets.shown import escape

_MAX_COLUMNS = 1_000
_MAX_DEPTH = 20
_MAX_SIGNATURES = 1_000
_MAX_PRINTED = 2_000
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?Z?)?", re.ASCII)
_INTEGER = re.compile(r" *[+-]?\d{1,19} *", re.ASCII)
_FLAGS = frozenset({"True", "TRUE", "true", "False", "FALSE", "false"})
# What pandas reads as a missing value.
_MISSING = frozenset(
    {
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
        "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    }
)  # fmt: skip
_SCALARS: Mapping[type, str] = {type(None): "null", bool: "bool", float: "float64"}
_VARYING = (int, list, dict)
"""Python types that alone do not determine the type of a column."""


class Columns(Protocol):
    """Infers the columns of an upload, row by row."""

    def add(self, row: Mapping[str, Any]) -> None: ...

    def printed(self) -> dict[str, str]: ...


def describe(columns: Columns, num_rows: int) -> dict[str, Any]:
    """Describe the columns for a report; `printed` is what `print(dataset)` shows."""
    features = {escape(name): kind[:_MAX_PRINTED] for name, kind in columns.printed().items()}
    printed = f"Dataset({{\n    features: {list(features)},\n    num_rows: {num_rows}\n}})"
    return {"features": features, "num_rows": num_rows, "printed": printed}


class JsonColumns:
    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._seen: dict[Any, tuple[str, ...]] = {}
        """By names and types of a row: the columns whose values must be inspected every time."""
        self._dated: tuple[str, ...] = ()

    def add(self, row: Mapping[str, Any]) -> None:
        signature = (tuple(row), tuple(map(type, row.values())))
        varying = self._seen.get(signature)
        if varying is None:
            self._add_all(row)
            if len(self._seen) < _MAX_SIGNATURES:
                self._seen[signature] = tuple(
                    name for name, value in row.items() if isinstance(value, _VARYING)
                )
            return
        for name in varying:
            if name in self._kinds:
                self._kinds[name].add(row[name])
        for name in self._dated:
            if name in row:
                self._kinds[name].add(row[name])
                self._find_dated()

    def _add_all(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if name not in self._kinds and len(self._kinds) < _MAX_COLUMNS:
                self._kinds[name] = _Kind()
            if name in self._kinds:
                self._kinds[name].add(value)
        self._find_dated()

    def _find_dated(self) -> None:
        """Find the columns whose texts were all dates so far: the next one may not be a date."""
        self._dated = tuple(n for n, kind in self._kinds.items() if kind.name == "timestamp[s]")

    def printed(self) -> dict[str, str]:
        return {name: kind.printed() for name, kind in self._kinds.items()}


class _Kind:
    """The common type of all values in one place."""

    __slots__ = ("depth", "fields", "item", "name")

    def __init__(self, depth: int = 0) -> None:
        self.name = "null"
        self.depth = depth
        self.item: _Kind | None = None
        self.fields: dict[str, _Kind] = {}

    def add(self, value: Any) -> None:
        if value is None or self.name == "json":
            return
        found = _name(value)
        if self.name == "null":
            self.name = found if self.depth < _MAX_DEPTH else "json"
            if found == "object":
                self.fields = {key: _Kind(self.depth + 1) for key in value}
        elif self.name != found:
            self.name = _JOINED.get(frozenset((self.name, found)), "json")
        if self.name == "list":
            self._add_items(value)
        elif self.name == "object":
            self._add_fields(value)

    def _add_items(self, values: Iterable[Any]) -> None:
        self.item = self.item or _Kind(self.depth + 1)
        for value in values:
            self.item.add(value)

    def _add_fields(self, value: Mapping[str, Any]) -> None:
        if value.keys() != self.fields.keys() or not value or len(value) > _MAX_COLUMNS:
            self.name = "json"
            return
        for key, kind in self.fields.items():
            kind.add(value[key])

    def printed(self) -> str:
        if self.name == "json":
            return "Json(decode=True)"
        if self.name == "list":
            return f"List({(self.item or _Kind()).printed()})"
        if self.name == "object":
            inside = (f"{escape(key)!r}: {kind.printed()}" for key, kind in self.fields.items())
            return "{" + ", ".join(inside) + "}"
        return f"Value({self.name!r})"


_JOINED = {
    frozenset(("int64", "float64")): "float64",
    frozenset(("timestamp[s]", "string")): "string",
}


def _name(value: Any) -> str:
    if isinstance(value, str):
        # pyarrow reads texts that look like dates as timestamps.
        return "timestamp[s]" if len(value) <= 20 and _DATE.fullmatch(value) else "string"
    if isinstance(value, list | dict):
        return "list" if isinstance(value, list) else "object"
    if type(value) is int:
        return "int64" if -(1 << 63) <= value < 1 << 63 else "float64"
    return _SCALARS.get(type(value), "json")


class CsvColumns:
    def __init__(self) -> None:
        self._kinds: dict[str, str | None] = {}
        self._open: list[str] = []
        """Columns not yet known to be text."""
        self._lacking: set[str] = set()

    def add(self, row: Mapping[str, Any]) -> None:
        if not self._kinds:
            self._open = list(row)[:_MAX_COLUMNS]
            self._kinds = dict.fromkeys(self._open)
        texts = []
        for name in self._open:
            kind = self._kinds[name] = self._join(name, row.get(name) or "")
            if kind == "large_string":
                texts.append(name)
        for name in texts:
            self._open.remove(name)

    def _join(self, name: str, cell: Any) -> str | None:
        known = self._kinds[name]
        if not isinstance(cell, str):
            return "large_string"
        if cell in _MISSING:
            self._lacking.add(name)
            return known
        found = _name_cell(cell)
        if known in (None, found):
            return found
        return "float64" if {known, found} == {"int64", "float64"} else "large_string"

    def printed(self) -> dict[str, str]:
        return {name: f"Value({self._final(name)!r})" for name in self._kinds}

    def _final(self, name: str) -> str:
        kind = self._kinds[name]
        if kind is None or (kind == "int64" and name in self._lacking):
            return "float64"
        return kind


def _name_cell(cell: str) -> str:
    if cell in _FLAGS:
        return "bool"
    if _INTEGER.fullmatch(cell):
        return "int64" if -(1 << 63) <= int(cell) < 1 << 63 else "large_string"
    try:
        float(cell)
    except ValueError:
        return "large_string"
    return "large_string" if "_" in cell else "float64"


class KnownColumns:
    """Columns of a file that declares their types itself."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self._kinds = kinds

    def add(self, row: Mapping[str, Any]) -> None:
        pass

    def printed(self) -> dict[str, str]:
        return dict(self._kinds)
