"""Detect the format of an upload from its first bytes, with the reason in a sentence."""

import csv
import io
import re
from collections.abc import Collection, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from app.core.datasets.columns import unwrap
from app.core.datasets.reading.csv_rows import SEPARATOR
from app.core.datasets.reading.parse import Fault, parse, skip_space
from app.core.datasets.reading.readers import BOM

HEAD = 1 << 16
_SPACE = " \t\n\r\v\f"
"""What bytes.strip() removes; str.strip() removes more, and may leave nothing of a file."""
_SUPPORTED = ("json", "jsonl", "csv", "parquet")
_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons"}
_HEADER_NAMES = frozenset(
    {
        *("instruction", "input", "output", "system", "history", "text"),
        *("prompt", "completion", "response", "question", "answer", "messages", "conversations"),
    }
)

_MAGIC = (
    (b"\x1f\x8b", "gzip", "Unpack it first."),
    (b"ARROW1", "arrow", ""),
    (b"BZh", "bzip2", "Unpack it first."),
    (b"\xfd7zXZ\0", "xz", "Unpack it first."),
    (b"\x28\xb5\x2f\xfd", "zstd", "Unpack it first."),
    (b"7z\xbc\xaf\x27\x1c", "7z", "Unpack it first."),
    (b"%PDF", "pdf", ""),
    (b"SQLite format 3\0", "sqlite", ""),
    (b"\xd0\xcf\x11\xe0", "xls", ""),
    (b"\x80\x04\x95", "pickle", ""),
    (b"\x89HDF", "hdf5", ""),
)
# UTF-32 before UTF-16: its mark begins with the other's.
_WIDE = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_WRAPPED = re.compile(
    r'\{\s*"(data|rows|train|examples|dataset|items|records|instances|results|samples)"\s*:\s*\[\s*[{\]]'
)


@dataclass(frozen=True)
class Detection:
    format: str
    """json, jsonl, csv, parquet, the name of an unsupported format, or "unknown"."""
    reason: str
    start: int = 0
    """Offset of the first byte of content."""
    delimiter: str = ""
    """Delimiter of a CSV file."""
    spans_lines: bool = False
    """Concatenated objects, each over several lines."""
    fault: Fault | None = None
    """Set when the file cannot be read at all."""


class Declared(NamedTuple):
    """What the caller declared about a file."""

    format: str = "auto"
    columns: frozenset[str] = frozenset()
    """Columns that the file has."""


NOTHING_DECLARED = Declared()


def detect(file: io.BufferedIOBase, declared: Declared = NOTHING_DECLARED) -> Detection:
    """Detect the format from the beginning of a file. Its position afterwards is undefined."""
    head = file.read1(HEAD)
    start = len(BOM) if head.startswith(BOM) else 0
    if found := _detect_binary(head):
        return found
    while head and not head[start:].strip():
        head, start = file.read1(HEAD), 0
    if not head:
        fault = Fault("file_empty", "The file is empty.")
        return Detection("unknown", "The file has no content.", fault=fault)
    at = len(BOM) if start else 0
    return _detect_text(head[start:].decode("utf-8", "replace").lstrip(_SPACE), at, declared)


def _detect_binary(head: bytes) -> Detection | None:
    if head.startswith(b"PK\x03\x04"):
        kind = "xlsx" if b"xl/" in head or b"[Content_Types]" in head else "zip"
        return _unsupported(kind, "" if kind == "xlsx" else "Unpack it first.")
    if head.startswith(b"PAR1"):
        return Detection("parquet", "Its first bytes are those of Parquet.")
    if head.startswith(b"PARE"):
        fault = Fault("parquet_encrypted", "This Parquet file is encrypted.")
        return Detection("parquet", "Its first bytes are those of Parquet.", fault=fault)
    if head[257:262] == b"ustar":
        return _unsupported("tar", "Unpack it first.")
    for magic, kind, hint in _MAGIC:
        if head.startswith(magic):
            return _unsupported(kind, hint)
    for mark, name in _WIDE:
        if head.startswith(mark):
            return _wide(name, 0)
    if re.match(rb"(\0[ -~]){2}|([ -~\r\n]\0){2}", head):
        at = head.index(b"\0")
        return _wide("UTF-16", at, "UTF-16LE" if at else "UTF-16BE")
    return None


def _wide(name: str, offset: int, order: str = "") -> Detection:
    hint = f"Save the file as UTF-8, for example `iconv -f {order or name} -t UTF-8 in > out`."
    fault = Fault("not_utf8", f"The file is {name}, detected at byte offset {offset}.", hint=hint)
    return Detection("unknown", f"Its first bytes are those of {name}.", fault=fault)


def _unsupported(kind: str, advice: str) -> Detection:
    accepted = "Upload a JSON array, JSON Lines or CSV in UTF-8, or Parquet."
    hint = " ".join(filter(None, [advice, accepted]))
    fault = Fault("format_unsupported", f"The file looks like {kind}.", hint=hint)
    return Detection(kind, f"Its first bytes are those of {kind}.", fault=fault)


def _detect_text(text: str, start: int, declared: Declared) -> Detection:
    if text[0] == "[":
        return Detection("json", "It begins with [: a JSON array.", start)
    wrapped = _WRAPPED.match(text)
    if wrapped and wrapped.group(1) not in declared.columns and not _has_second_object(text):
        message = f'The rows are inside an object, under "{wrapped.group(1)}".'
        hint = _unwrapping(wrapped.group(1), text)
        fault = Fault("wrapped_in_object", message, hint=hint)
        return Detection("json", "It begins with an object that holds a list.", fault=fault)
    if text[0] == "{":
        return _detect_objects(text, start)
    return _detect_other(text, start, declared)


def _unwrapping(name: str, text: str) -> str:
    """Return how to upload the list of an object, with what a small file says beside it."""
    try:
        whole = parse(text)
    except Fault:
        whole = {name: []}
    first = next((each for each in whole[name] if isinstance(each, dict)), {})
    way = unwrap(name, whole, first)
    return way[0].upper() + way[1:]


def _detect_objects(text: str, start: int) -> Detection:
    """Detect JSON Lines, or objects over several lines if the first continues on the second."""
    first, _, rest = text.partition("\n")
    follower = rest[skip_space(rest, 0) :][:1]
    if _is_json(first) or follower in ("", "{", "["):
        return Detection("jsonl", "Its first line is an object: JSON Lines.", start)
    if follower in ('"', "}", "'"):
        reason = "It begins with an object that continues on the next line."
        return Detection("jsonl", reason, start, spans_lines=True)
    return Detection("jsonl", "It begins with {: JSON Lines.", start)


def _has_second_object(text: str) -> bool:
    """Whether a second object follows on the second line, as in JSON Lines."""
    first, _, rest = text.partition("\n")
    return rest[skip_space(rest, 0) :][:1] == "{" and _is_json(first)


def _is_json(line: str) -> bool:
    try:
        parse(line)
    except Fault:
        return False
    return True


def _detect_other(text: str, start: int, declared: Declared) -> Detection:
    lines = [line.strip() for line in text.splitlines()[:20]]
    if lines[0].startswith(("<", "<?xml")):
        return _unsupported("html" if "html" in text[:500].lower() else "xml", "")
    if separator := SEPARATOR.match(text):
        reason = "Its first line tells Excel the delimiter: CSV."
        return Detection("csv", reason, start, delimiter=separator[1])
    # Before the search for brackets: a quoted text may contain a line that begins with one.
    known = _HEADER_NAMES | {name.strip().lower() for name in declared.columns}
    delimiter, names = _split_header(text, known)
    if names & known:
        return _csv(delimiter, names, start)
    if any(line.startswith(("{", "[")) for line in lines) or _is_json(lines[0]):
        array = lines[0].startswith(("//", "/*", "#")) and any(x.startswith("[") for x in lines)
        reason = "A later line begins with a bracket." if array else "Its lines look like JSON."
        return Detection("json" if array else "jsonl", reason, start)
    if len(names) > 1 or declared.format == "csv":
        return _csv(delimiter, names, start)
    fault = Fault("format_unsupported", "The file is not JSON, JSON Lines or CSV.")
    reason = "It begins with neither [ nor {, and its first line does not name columns."
    return Detection("unknown", reason, fault=fault)


def _csv(delimiter: str, names: Collection[str], start: int) -> Detection:
    reason = f"Its first line names columns, separated by {_DELIMITERS[delimiter]}: CSV."
    if len(names) == 1:
        reason = "Its first line names a column: CSV."
    return Detection("csv", reason, start, delimiter=delimiter)


def _split_header(text: str, known: Set[str]) -> tuple[str, set[str]]:
    """Return the delimiter by which the first row names the most known columns, and the names."""
    splits = []
    for mark in _DELIMITERS:
        row: list[str] = []
        with suppress(csv.Error):
            row = next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])
        splits.append((mark, {name.strip().lower() for name in row}))
    return max(splits, key=lambda split: (len(split[1] & known), len(split[1])))


def check_declared(declared: str, found: Detection) -> Fault | None:
    """Return a fault if the caller declared another format than the detected one, which is used."""
    if declared in ("auto", found.format) or found.fault:
        return None
    if declared not in _SUPPORTED:
        message = f"`format` is {declared[:40]!a}, which is not supported; the file was read"
        return Fault("format_mismatch", f"{message} as {found.format}.")
    return Fault("format_mismatch", f"`format` is {declared}, but the file is {found.format}.")
