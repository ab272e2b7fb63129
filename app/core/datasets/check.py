"""python -m app.core.datasets.check UPLOAD OUT FORMAT COLUMNS MAX_ROW_CHARS MEMORY CPU FILE WALL

Reads an upload and writes OUT/rows.jsonl and OUT/report.json, under limits it puts on itself.
A plain program: standard library only, no settings, no secrets. `validate` starts it.
"""

import json
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from app.core.datasets import report, shapes
from app.core.datasets.arrays import read_values
from app.core.datasets.csv_rows import read_csv
from app.core.datasets.readers import BOM, Found, read_lines
from app.core.datasets.rows import dump
from app.core.datasets.sniff import HEAD, Detection, check_declared, detect

OUT_OF_MEMORY = 86
"""Exit status of a check that ran into its memory limit."""
_MAX_AHEAD = 16_000_000
"""Characters read before the form of the rows is told."""


def check(
    upload: Path,
    out: Path,
    *,
    declared: str,
    max_row_chars: int,
    columns: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the canonical rows and the report of an upload; the report is also returned."""
    with upload.open("rb", buffering=1 << 18) as file, (out / "rows.jsonl").open("wb") as rows:
        made = _Check(rows, columns or {}).run(file, declared, max_row_chars)
    partial = out / "report.json.part"
    partial.write_text(json.dumps(made), encoding="utf-8")
    partial.replace(out / "report.json")
    return made


class _Check:
    def __init__(self, rows: BinaryIO, columns: Mapping[str, str]) -> None:
        self.rows = rows
        self.problems = report.Problems()
        self.profile = report.Profile()
        self.shape = shapes.Shape(None, "No row was read.", columns)
        self.used: frozenset[str] = frozenset()
        self.index = 0

    def run(self, file: BinaryIO, declared: str, max_chars: int) -> dict[str, Any]:
        found = detect(file)
        self._note_file(file, found, declared)
        if not found.fault:
            file.seek(found.start)
            for item in self._told(_read(file, found, max_chars)):
                self._take(item)
            self._judge()
        made = report.as_dict(found.format, found.reason, self.index, self.problems, self.profile)
        return made | {"row_format": self.shape.row_format, "row_format_reason": self.shape.reason}

    def _told(self, items: Iterator[Found]) -> Iterator[Found]:
        """The same items, once the form of the rows was told from the first ones."""
        first: list[Found] = []
        num_objects = num_chars = 0
        for item in items:
            first.append(item)
            num_objects += isinstance(item.value, dict)
            num_chars += len(item.text)
            if shapes.LOOKED_AT in (num_objects, len(first) // 10) or num_chars > _MAX_AHEAD:
                break
        self.shape = shapes.tell([item.value for item in first], self.shape.columns)
        self.used = self.shape.used
        return chain(first, items)

    def _note_file(self, file: BinaryIO, found: Detection, declared: str) -> None:
        add = self.problems.add
        file.seek(0)
        head = file.read(HEAD)
        for fault in (found.fault, check_declared(declared, found)):
            if fault:
                add(fault.code, fault.message, line=1, hint=fault.hint, snippet=_as_text(head))
        if head.startswith(BOM):
            add("bom", "The file begins with a byte order mark.", line=1)
        if b"\r\n" in head and not found.fault:
            add("crlf", "The lines end in CR LF.", line=1)
        if found.spans_lines:
            add("objects_span_lines", "The objects are spread over several lines.", line=1)

    def _take(self, item: Found) -> None:
        row = self.index if item.is_row else None
        self.index += item.is_row
        if item.fault:
            fault = item.fault
            self.problems.add(
                fault.code,
                fault.message,
                row=row,
                line=item.line,
                hint=fault.hint,
                snippet=item.text[:200],
            )
        elif row is not None:
            self._take_row(row, item)

    def _take_row(self, index: int, item: Found) -> None:
        row, flaws = shapes.normalize(item.value, self.shape)
        line = None
        if row is not None:
            try:
                line = dump(row)
            except UnicodeEncodeError:
                flaws += shapes.find_bad_characters(row, item.value, self.shape)
            else:
                # Quick to rule out; the escape may also be a backslash that the text has.
                if b"\\u0000" in line:
                    bad = shapes.find_bad_characters(row, item.value, self.shape)
                    line = None if bad else line
                    flaws += bad
        for flaw in flaws:
            self.problems.add(
                flaw.code,
                flaw.message,
                row=index,
                line=item.line,
                field=flaw.field,
                hint=flaw.hint,
                snippet=item.text[:200],
            )
        if isinstance(item.value, dict) and not item.value.keys() <= self.used:
            self._note_columns(index, item)
        if row is not None and line is not None:
            self.rows.write(line)
            self.profile.add(index, row, line)

    def _note_columns(self, index: int, item: Found) -> None:
        for name in item.value:
            if name in self.used:
                continue
            shown = report.escape(name[:80].replace("~", "~0").replace("/", "~1"))
            message = f"The column `{shown}` is not one of ours and was left out."
            self.problems.add("column_ignored", message, row=index, line=item.line, field=shown)

    def _judge(self) -> None:
        """What only shows when all rows were seen."""
        profile, add = self.profile, self.problems.add
        if not self.index and not self.problems.num_errors:
            add("no_rows", "The file has no rows.")
        if profile.num_copies:
            pairs = ", ".join(f"{copy} of {first}" for first, copy in profile.copies[:3])
            one = "1 row is an exact copy"
            many = f"{profile.num_copies:,} rows are exact copies"
            add("duplicate_rows", f"{one if profile.num_copies == 1 else many}: row {pairs}.")
        if not profile.all_compared:
            add("duplicates_partial", "Copies were looked for among the first rows only.")


def _read(file: BinaryIO, found: Detection, max_chars: int) -> Iterator[Found]:
    if found.format == "json" or found.spans_lines:
        return read_values(file, max_chars, is_array=found.format == "json")
    if found.format == "csv":
        return read_csv(file, max_chars, found.delimiter)
    return read_lines(file, max_chars)


def _as_text(head: bytes) -> str:
    return head[:200].decode("utf-8", "replace")


def main(arguments: list[str]) -> int:
    upload, out, declared, columns = arguments[:4]
    max_row_chars, memory, cpu, file_size, wall = map(int, arguments[4:])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(wall)  # should the parent be gone by then
    try:
        check(
            Path(upload),
            Path(out),
            declared=declared,
            max_row_chars=max_row_chars,
            columns=json.loads(columns),
        )
    except MemoryError:
        return OUT_OF_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
