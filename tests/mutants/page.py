"""`docs/mutants.md`: the list, and what the last run of all of it measured."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.mutants.fault import Fault

HEAD = """# Planted faults

`make mutants` plants each of these faults in a copy of the tree, one at a time, runs the tests that
should catch it and says whether one of them failed. `make mutants NAMES='claim-*'` runs some.
The list is `tests/mutants/`; a test checks that every fault still applies, that the tests it names
exist and that this page says the same of them; `make mutants NAMES=--write` writes it.

Why a tool of our own: mutmut 3 and cosmic-ray 8 make their own changes of a token or two all over a
package (cosmic-ray plans 24,916 in `app/core`, `app/services` and `worker`, at seconds each with a
real Postgres) and take no fault that somebody thought of, such as a message sent before its commit.

"Survived" in the last column: when the fault was planted for the first time, the tests of its area
all passed, and the test named here was written or mended for it. Three were tried against one
existing test only (`leader-never-steps-down`, `reclaim-at-once`, `spool-reversed`), and the one for
`heartbeat-is-progress` neither failed nor ended.
`stream-gap-unseen` was caught by chance before, in 7 of 10 runs; its tests now fail in 20 of 20 and
pass in 20 of 20 without it. Seconds are those of one run of pytest, its servers included.
"""
TABLE = """
| Fault | File | What is wrong | Caught by | Seconds | First run |
|---|---|---|---|---|---|
"""


def text(faults: Sequence[Fault], seconds: Mapping[str, float]) -> str:
    total = sum(seconds.values())
    survived = sum(fault.survived_at_first for fault in faults)
    measured = (
        f"\n{len(faults)} faults, all caught, in {total:.0f} s on {os.cpu_count()} cores "
        f"({_processor()}) under a load of {os.getloadavg()[2]:.1f}; {survived} of them survived "
        "at first.\n"
    )
    rows = [f"{row(fault)} {seconds[fault.name]:.1f} | {first_run(fault)} |" for fault in faults]
    return HEAD + measured + TABLE + "\n".join(rows) + "\n"


def row(fault: Fault) -> str:
    """All of a row but what was measured."""
    tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in fault.tests)
    return f"| {fault.name} | `{fault.file}` | {fault.wrong} | {tests} |"


def first_run(fault: Fault) -> str:
    return "survived" if fault.survived_at_first else "caught"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
