"""Time of a dry run of 50,000 rows: computed in a sandboxed child, and read from stored results.

The rows are those of examples/data, each made unique. Target on two cores: under 20 s when computed
("new"), under 2 s when stored ("kept"). No ratio: there is no other implementation to compare with.
"""

import json
import resource
import shutil
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from app.core.datasets.layout import figures
from app.core.jobs.spec import JobSpec
from app.core.settings import Settings
from app.core.storage import open_storage
from app.services.counting.layouts import LayoutRequest, Layouts, Source

EXAMPLES = Path(__file__).parents[1] / "examples"
ROWS = 50_000
ROUNDS = 3


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-bench-"))
    try:
        storage = open_storage(Settings(storage_url=(folder / "store").as_uri()))
        storage.write("datasets/ds/rows.jsonl", [make_rows()])
        layouts, request = Layouts(storage), make_request()
        layouts.wait_seconds = 600
        for number in range(1, ROUNDS + 1):
            storage.delete_all("layouts/")
            for side in ("new", "kept"):
                line = {"bench": "dryrun", "round": number, "side": side}
                print(json.dumps(line | measured(layouts, request)), flush=True)
        layouts.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measured(layouts: Layouts, request: LayoutRequest) -> dict[str, float]:
    begin, before = time.perf_counter(), cpu_seconds()
    laid = layouts.of(request).laid
    seconds, cpu = time.perf_counter() - begin, cpu_seconds() - before
    assert laid
    assert laid.held_out
    assert laid.train.rows + laid.held_out.rows == ROWS
    tokens = laid.train.tokens + laid.held_out.tokens
    return {"seconds": round(seconds, 3), "cpu_seconds": round(cpu, 3), "tokens": tokens}


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def make_rows() -> bytes:
    rows = json.loads((EXAMPLES / "data/tickets_train.json").read_text())
    texts = ("".join(row["output"] for row in rows[:3]), "")
    return "".join(
        json.dumps({**row, "input": f"{number}: {row['input']} {texts[number % 2]}"}) + "\n"
        for number, row in enumerate(islice(cycle(rows), ROWS))
    ).encode()


def make_request() -> LayoutRequest:
    base = next(each for each in sorted((EXAMPLES / "models").iterdir()) if each.is_dir())
    body = {"model": base.name, "dataset": "ds", "validation": {"fraction": 0.05}}
    request = figures.FiguresRequest(spec=JobSpec.model_validate(body))
    return LayoutRequest(request, Source("ds", "0"), None, base)


if __name__ == "__main__":
    main()
