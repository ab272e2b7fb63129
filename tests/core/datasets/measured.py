"""python -m tests.core.datasets.measured < task.json

The check, in the same child and under the same limits, which also writes OUT/used.json.
"""

import json
import re
import resource
import sys
from io import StringIO
from pathlib import Path

from app.core.datasets.checking import check


def main() -> int:
    text = sys.stdin.read()
    sys.stdin = StringIO(text)
    status = check.main()
    used = resource.getrusage(resource.RUSAGE_SELF)
    measured = {"cpu_seconds": used.ru_utime + used.ru_stime, "rss_bytes": peak_rss_bytes()}
    (Path(json.loads(text)["out"]) / "used.json").write_text(json.dumps(measured))
    return status


def peak_rss_bytes() -> int:
    """Return the peak of this program alone: `ru_maxrss` includes that before `exec`."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


if __name__ == "__main__":
    sys.exit(main())
