"""python -m app.core.datasets.checking.check < task.json

Read the files of an upload and write OUT/rows.jsonl, OUT/problems.jsonl and OUT/report.json, and
OUT/progress.json meanwhile. A standalone program without settings or secrets; `validate` starts it
under resource limits.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from app.core import store_keys
from app.core.datasets.checking import notes, report, shapes
from app.core.datasets.checking.progress import Progress
from app.core.datasets.checking.rows import dump, show
from app.core.datasets.reading import features
from app.core.datasets.reading.budget import Unreadable
from app.core.datasets.reading.parse import Fault
from app.core.datasets.reading.readers import BOM, Found
from app.core.datasets.reading.sniff import Declared, check_declared
from app.core.datasets.reading.sources import Source, Upload, opened
from app.core.datasets.shown import escape

OUT_OF_MEMORY = 86
"""Exit status of a check that reached its memory limit."""
_MAX_AHEAD = 16_000_000
"""Characters read at most before the row format is detected."""
_MAX_BYTES = 5 << 30


def check(
    uploads: Path | Sequence[Upload],
    out: Path,
    *,
    declared: str,
    max_row_chars: int,
    columns: Mapping[str, str] | None = None,
    max_bytes: int = _MAX_BYTES,
    progress_seconds: float = 1.0,
) -> dict[str, Any]:
    """Check an upload of one or several files of the same format, whose rows are concatenated:
    write the canonical rows, the problems and the report. Returns the report.

    `max_bytes` is the upload limit, which also caps what a compressed file may decompress to.
    `progress_seconds` is the time between two updates of the progress.
    """
    files = [Upload(uploads)] if isinstance(uploads, Path) else uploads
    sizes = [each.path.stat().st_size for each in files]
    progress = Progress(out / "progress.json", sizes, progress_seconds)
    rows_path, problems_path = out / store_keys.ROWS, out / store_keys.PROBLEMS
    with rows_path.open("wb") as rows, problems_path.open("wb") as problems:
        checking = _Check(rows, report.Problems(problems), columns or {}, progress)
        made = checking.run(files, _Rules(declared, max_row_chars, max_bytes))
    partial = out / "report.json.part"
    partial.write_text(json.dumps(made), encoding="utf-8")
    partial.replace(out / store_keys.REPORT)
    return made


class _Rules(NamedTuple):
    declared: str
    max_chars: int
    max_bytes: int


class _Check:
    def __init__(
        self,
        rows: BinaryIO,
        problems: report.Problems,
        columns: Mapping[str, str],
        progress: Progress,
    ) -> None:
        self.rows = rows
        self.problems = problems
        self.progress = progress
        self.profile = report.Profile()
        self.notes = notes.Notes()
        self.shape = shapes.Shape(None, "No row was read.", columns)
        self.used: frozenset[str] = frozenset()
        self.columns: features.Columns | None = None
        self.format, self.reason = "unknown", "The file could not be read."
        self.index = 0

    def run(self, files: Sequence[Upload], rules: _Rules) -> dict[str, Any]:
        names = [each.name if len(files) > 1 else None for each in files]
        found = (
            item
            for number, (upload, name) in enumerate(zip(files, names, strict=True))
            for item in self._open(number, upload.path, name, rules)
        )
        for item in self._with_shape(found):
            self._take(item)
        self._check_all()
        self.problems.end()
        made = report.as_dict(self.format, self.reason, self.index, self.problems, self.profile)
        seen = features.describe(self.columns or features.JsonColumns(), self.index)
        return made | {
            "row_format": self.shape.row_format,
            "row_format_reason": self.shape.reason,
            "as_uploaded": seen,
        }

    def _open(self, number: int, path: Path, name: str | None, rules: _Rules) -> Iterator[Found]:
        """Yield the rows of a file with its name, and last the fault that ended it, if any."""
        line = 1
        given = Declared(rules.declared, frozenset(self.shape.columns.values()))
        try:
            with opened(path, rules.max_bytes, given) as source:
                if number == 0:
                    self.format, self.reason = source.found.format, source.found.reason
                for item in chain(self._notes(source, rules.declared), self._rows(source, rules)):
                    line, item.file = item.line, name
                    yield item
                    if self.progress.is_due:
                        self.progress.write(number, source.share, self.index)
        except Unreadable as end:
            yield Found(line, fault=end.fault, is_row=False, file=name)

    def _rows(self, source: Source, rules: _Rules) -> Iterator[Found]:
        if source.found.fault:
            return
        source.prepare(self.columns)
        self.columns = source.columns
        yield from source.rows(
            rules.max_chars, self.shape.columns, shapes.known(self.shape.columns)
        )

    def _with_shape(self, items: Iterator[Found]) -> Iterator[Found]:
        """Detect the row format from the first items, then yield all of them."""
        first: list[Found] = []
        num_objects = num_chars = 0
        for item in items:
            first.append(item)
            num_objects += isinstance(item.value, dict)
            num_chars += len(item.text) or item.num_chars
            if shapes.LOOKED_AT in (num_objects, len(first) // 10) or num_chars > _MAX_AHEAD:
                break
        self.shape = shapes.detect([item.value for item in first], self.shape.columns)
        self.used = self.shape.used
        return chain(first, items)

    def _notes(self, source: Source, declared: str) -> Iterator[Found]:
        """Yield the faults and notes on a file that come before its rows."""
        found, head = source.found, source.head
        faults = [found.fault, check_declared(declared, found)]
        if found.format != self.format and not found.fault:
            message = f"This file is {found.format}, the first one is {self.format}."
            faults.append(Fault("files_mixed", message))
        for fault in filter(None, faults):
            text = head[:200].decode("utf-8", "replace")
            yield Found(1, text=text, fault=fault, is_row=False)
        infos = []
        if head.startswith(BOM):
            infos.append(Fault("bom", "The file begins with a byte order mark."))
        if b"\r\n" in head and not found.fault and found.format != "parquet":
            infos.append(Fault("crlf", "The lines end in CR LF."))
        if found.spans_lines:
            message = "The objects span several lines."
            infos.append(Fault("objects_span_lines", message))
        yield from (Found(1, fault=info, is_row=False) for info in infos)

    def _take(self, item: Found) -> None:
        row = self.index if item.is_row else None
        self.index += item.is_row
        if item.fault:
            self._add(item, row)
        elif row is not None:
            self._take_row(row, item)

    def _add(self, item: Found, row: int | None = None, field: str = "") -> None:
        if fault := item.fault:
            self.problems.add(
                fault.code,
                fault.message,
                row=row,
                line=item.line,
                field=field,
                hint=fault.hint,
                snippet=item.text[:200],
                file=item.file,
            )

    def _take_row(self, index: int, item: Found) -> None:
        if isinstance(item.value, dict) and self.columns:
            self.columns.add(item.value)
        row, flaws = shapes.normalize(item.value, self.shape)
        line = None
        if row is not None:
            try:
                line = dump(row)
            except UnicodeEncodeError:
                flaws += shapes.find_bad_characters(row, item.value, self.shape)
            else:
                # A quick first test: the match may also be an escaped backslash in the text.
                if b"\\u0000" in line:
                    bad = shapes.find_bad_characters(row, item.value, self.shape)
                    line = None if bad else line
                    flaws += bad
        snippet = item.text[:200] or (show(_read_of(item.value, self.used)) if flaws else "")
        for flaw in flaws:
            if flaw.code in notes.COUNTED:
                self.notes.add(flaw, index, item.line, item.file)
                continue
            self.problems.add(
                flaw.code,
                flaw.message,
                row=index,
                line=item.line,
                field=flaw.field,
                hint=flaw.hint,
                snippet=snippet,
                file=item.file,
            )
        used = self.used | {flaw.field for flaw in flaws}
        used |= {"reasoning"} if row and "reasoning" in row else set()
        if isinstance(item.value, dict) and not item.value.keys() <= used:
            self._note_columns(index, item, used)
        if row is not None and line is not None:
            self.rows.write(line)
            self.profile.add(index, row, line)

    def _note_columns(self, index: int, item: Found, used: frozenset[str]) -> None:
        for name in item.value:
            if name in used:
                continue
            shown = escape(name[:80].replace("~", "~0").replace("/", "~1"))
            message = f"The column `{shown}` is not used and was left out."
            fault = Fault("column_ignored", message)
            self._add(Found(item.line, fault=fault, file=item.file), index, shown)

    def _check_all(self) -> None:
        """Report what is known only after the last row."""
        profile, add = self.profile, self.problems.add
        self.notes.report(self.problems, self.index)
        if not self.index and not self.problems.num_errors:
            add("no_rows", "The file has no rows.")
        if profile.num_copies:
            pairs = ", ".join(f"row {copy} of row {first}" for first, copy in profile.copies[:3])
            one = "1 row is an exact copy"
            many = f"{profile.num_copies:,} rows are exact copies"
            add("duplicate_rows", f"{one if profile.num_copies == 1 else many}: {pairs}.")
        if not profile.all_compared:
            add("duplicates_partial", "Only the first rows were searched for copies.")


def _read_of(value: Any, used: frozenset[str]) -> Any:
    """Return the columns that were read, for the snippet of a row without source text."""
    is_object = isinstance(value, dict)
    return {name: value[name] for name in value if name in used} if is_object else value


def main() -> int:
    task = json.load(sys.stdin)
    files = [Upload(Path(path), name) for path, name in task.pop("files")]
    try:
        check(files, Path(task.pop("out")), **task)
    except MemoryError:
        return OUT_OF_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main())
