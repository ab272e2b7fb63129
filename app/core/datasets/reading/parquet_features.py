"""Arrow types as the `datasets` library (5.2) prints them. Child processes only."""

from collections.abc import Mapping

import pyarrow as pa
from pyarrow import types

_NAMES: Mapping[str, str] = {
    "double": "float64",
    "float": "float32",
    "halffloat": "float16",
    "date32[day]": "date32",
    "date64[ms]": "date64",
}


def printed(schema: pa.Schema) -> dict[str, str]:
    return {field.name: _printed(field.type) for field in schema}


def _printed(kind: pa.DataType) -> str:
    if types.is_struct(kind):
        return "{" + ", ".join(f"{each.name!r}: {_printed(each.type)}" for each in kind) + "}"
    if types.is_fixed_size_list(kind):
        return f"List({_printed(kind.value_type)}, length={kind.list_size})"
    if types.is_large_list(kind):
        return f"LargeList({_printed(kind.value_type)})"
    if types.is_list(kind):
        return f"List({_printed(kind.value_type)})"
    if types.is_dictionary(kind):
        return _printed(kind.value_type)
    return f"Value({_NAMES.get(str(kind), str(kind))!r})"
