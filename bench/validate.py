"""Rows per CPU-second: full validation of a dataset against a loop that only parses its JSON.

The same 500,000 rows in Alpaca format, about 700 bytes each, as JSON Lines, as a JSON array and as
Parquet. Ours is the child process as the service starts it, including its start; theirs is
`json.loads` on every line, in this process. One core each. The CPU time for all rows is printed
too.
"""

import json
import random
import resource
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from app.core.datasets.validate import validate_in_child
from app.core.settings import Settings
from bench.rounds import Side, compare

ROWS = 500_000
ROUNDS = 3


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-bench-"))
    try:
        files = write(folder, ROWS)
        for form, path in files.items():
            taken: list[float] = []
            compare(
                f"validate {form}",
                Side("tunesmith", partial(ours, path, folder, taken)),
                Side("json_loads", lambda: theirs(files["jsonl"])),
                "rows/CPU-s",
                ROUNDS,
            )
            print(f"  {ROWS:,} rows: {min(taken):.1f} to {max(taken):.1f} CPU seconds\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(folder: Path, count: int) -> dict[str, Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = make_rows(count)
    files = {form: folder / f"rows.{form}" for form in ("jsonl", "json", "parquet")}
    with files["jsonl"].open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    with files["json"].open("w") as file:
        json.dump(rows, file, indent=2)
    pq.write_table(pa.Table.from_pylist(rows), files["parquet"])
    return files


def make_rows(count: int) -> list[dict[str, Any]]:
    """Rows with Alpaca's four columns and lengths; one word in fifty is not ASCII."""
    dice = random.Random(count)
    words = [f"w{number:03}" for number in range(490)] + ["sch\u00f6n", "\u65e5\u672c"] * 5

    def text(least: int, most: int) -> str:
        return " ".join(dice.choices(words, k=dice.randint(least, most)))

    rows = []
    for number in range(count):
        row = {"instruction": f"{number} {text(5, 15)}", "input": text(0, 8) if number % 3 else ""}
        row["output"] = text(5, 90)
        row["text"] = f"{row['instruction']}\n{row['input']}\n{row['output']}"
        rows.append(row)
    return rows


def ours(path: Path, folder: Path, taken: list[float]) -> float:
    began = cpu_of_children()
    verdict = validate_in_child(path, folder / "out", Settings())
    seconds = cpu_of_children() - began
    assert verdict.is_ready
    assert verdict.num_valid_rows == verdict.num_rows == ROWS
    taken.append(seconds)
    return ROWS / seconds


def theirs(path: Path) -> float:
    began = time.process_time()
    count = 0
    with path.open("rb") as lines:
        for line in lines:
            count += isinstance(json.loads(line), dict)
    assert count == ROWS
    return count / (time.process_time() - began)


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
