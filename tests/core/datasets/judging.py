"""Run the real check of a file in its child, and measure what it uses."""

import json
from pathlib import Path
from typing import Any

from app.core.datasets.reading.sources import Upload
from app.core.datasets.validate import Limits
from app.core.sandbox import child
from app.core.settings import Settings


def judge(upload: Path, out: Path, settings: Settings | None = None) -> dict[str, Any]:
    """Return the report, with {cpu_seconds, rss_bytes} under `used`."""
    settings = settings or Settings()
    out.mkdir(exist_ok=True)
    task = {
        "files": [(str(upload), None)],
        "out": str(out),
        "declared": "auto",
        "columns": {},
        "max_row_chars": settings.max_row_chars,
        "max_bytes": settings.max_upload_bytes,
    }
    limits = Limits().of_child([Upload(upload)], settings.max_upload_bytes)
    child.run("tests.core.datasets.measured", [], [json.dumps(task).encode()], limits)
    report: dict[str, Any] = json.loads((out / "report.json").read_bytes())
    return report | {"used": json.loads((out / "used.json").read_bytes())}
