"""python -m tests.core.datasets.mutated FILES SEED

Check that many corrupted copies of good and bad files, under the limits of the real child, and
print {files, ready, invalid, slowest_seconds, rss_bytes} as JSON. End with a traceback, naming the
file's number, at the first one that does not get a consistent report.
"""

import csv
import gzip
import io
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from app.core.datasets.checking.check import check
from app.core.sandbox import child
from tests.core.datasets.measured import peak_rss_bytes

ROOT = Path(__file__).resolve().parents[3]
GOOD_BYTES = 20_000
"""Bytes of the sample data: enough for every kind of row, few enough for thousands of files."""
TOKENS = (
    b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\\ud800", b"\n", b"\r\n",
    b"\0", b"\xff", b"\xef\xbb\xbf", b"null", b"NaN", b"1e999", b"-0", b"9" * 50, b"[" * 200,
    b'{"a":' * 50, b"//", b"/*", b"#", b"text", b"instruction", b"output", b"messages", b"\t", b";",
    b'{"instruction": "a", "output": "b"}', b"\xf0\x9f\x92\xa9", b"\xed\xa0\x80", b" " * 300,
)  # fmt: skip


def main(count: int, seed: int) -> dict[str, Any]:
    os.environ.update(child.ENVIRONMENT)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        seeds = pool.submit(_seeds).result()  # in another process: writing Parquet takes memory
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    dice = random.Random(seed)
    slowest, counts = 0.0, Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        upload = Path(folder) / "upload"
        for number in range(count):
            upload.write_bytes(_spoil(dice.choice(seeds), dice))
            started = time.monotonic()
            try:
                report = check(upload, Path(folder), declared="auto", max_row_chars=50_000)
            except Exception as error:
                error.add_note(f"file {number} of seed {seed}")
                raise
            slowest = max(slowest, time.monotonic() - started)
            counts[report["status"]] += 1
            assert _holds_together(report, Path(folder)), f"file {number} of seed {seed}"
    return {
        "files": count,
        **counts,
        "slowest_seconds": round(slowest, 3),
        "rss_bytes": peak_rss_bytes(),
    }


def _seeds() -> list[bytes]:
    from tests.core.datasets import packed
    from tests.core.datasets.malformed import FILES

    sample = json.loads((ROOT / "examples/data/tickets_train.json").read_bytes())[:40]
    array = json.dumps(sample).encode()[:GOOD_BYTES]
    lines = "\n".join(json.dumps(row) for row in sample).encode()[:GOOD_BYTES]
    cells = csv_of(sample)[:GOOD_BYTES]
    chats = [{"messages": [{"role": "user", "content": row["output"]}] * 2} for row in sample]
    columns = [
        packed.parquet(rows, compression=how, use_dictionary=how != "zstd", row_group_size=15)
        for rows in (sample, chats)
        for how in ("none", "snappy", "zstd")
    ]
    zipped = [gzip.compress(each) for each in (array, lines, cells)]
    files: dict[str, tuple[Any, ...]] = {**FILES, **packed.FILES, **packed.HARMLESS}
    small = [content for content, *_ in files.values() if len(content) <= GOOD_BYTES]
    good = [array, lines, cells, *columns, *zipped]
    return good * (len(small) // 32) + small


def csv_of(rows: list[dict[str, str]]) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue().encode()


def _spoil(content: bytes, dice: random.Random) -> bytes:
    spoiled = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        at = dice.randrange(len(spoiled) + 1)
        size = dice.choice((1, 1, 2, 10, 200))
        match dice.randrange(6):
            case 0:
                del spoiled[at : at + size]
            case 1:
                spoiled[at:at] = dice.choice(TOKENS)
            case 2:
                spoiled[at : at + size] = dice.choice(TOKENS)
            case 3:
                spoiled[at:at] = spoiled[max(0, at - size) : at]
            case 4 if at < len(spoiled):
                spoiled[at] ^= 1 << dice.randrange(8)
            case 5 if dice.random() < 0.2:
                del spoiled[at:]
    return bytes(spoiled)


def _holds_together(report: dict[str, Any], folder: Path) -> bool:
    """Whether the row count is right, errors mean `invalid`, and all of it encodes."""
    rows = (folder / "rows.jsonl").read_bytes().splitlines()
    errors = [each for each in report["problems"] if each["severity"] == "error"]
    json.dumps(report, ensure_ascii=False).encode()
    return (
        len(rows) == report["num_valid_rows"] <= max(report["num_rows"], 0)
        and bool(errors) == (report["status"] == "invalid")
        and all(each["message"] and each["hint"] for each in report["problems"])
        and all(isinstance(json.loads(row), dict) for row in rows)
    )


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
