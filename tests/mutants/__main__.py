"""`python -m tests.mutants [NAME ...]`: plant the faults of the list and see who notices.

Exit status 1: one was not caught. 2: nothing could be said, because the list has drifted or the
tests fail as they are.
"""

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from tests.mutants import page, tree, trial
from tests.mutants.fault import Drifted, Fault
from tests.mutants.faults import FAULTS
from tests.mutants.trial import Trial, Verdict

PAGE = tree.ROOT / "docs" / "mutants.md"


def main() -> int:
    options = _options()
    faults = [fault for fault in FAULTS if any(fnmatch(fault.name, name) for name in options.names)]
    if not faults:
        print("No fault has such a name; --list names them all.", file=sys.stderr)
        return 2
    if options.list:
        print(*(f"{fault.name:34} {fault.wrong}" for fault in faults), sep="\n")
        return 0
    try:
        trials = _try_all(faults, options.seconds)
    except Drifted as drifted:
        print(drifted, file=sys.stderr)
        return 2
    if trials is None:
        return 2
    missed = [name for name, made in trials.items() if made.verdict is not Verdict.CAUGHT]
    print(f"{len(trials)} planted, {len(trials) - len(missed)} caught.")
    if missed:
        print("Not caught:", *missed)
        return 1
    if options.write and len(faults) == len(FAULTS):
        PAGE.write_text(page.text(faults, {name: made.seconds for name, made in trials.items()}))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="faults, by pattern; all if none")
    parser.add_argument("--list", action="store_true", help="name them and run nothing")
    parser.add_argument("--seconds", type=float, default=120, help="for the tests of one fault")
    parser.add_argument("--write", action="store_true", help="write docs/mutants.md if all run")
    return parser.parse_args()


def _try_all(faults: Sequence[Fault], seconds: float) -> dict[str, Trial] | None:
    """By name. None when the tests fail on the code as it is. Raises Drifted."""
    with tree.copied() as copy:
        for fault in faults:
            fault.planted(copy)
            fault.check_tests(copy)
        trial.load_libraries()
        tests = sorted({test for fault in faults for test in fault.tests})
        print(f"{len(tests)} tests on the code as it is", flush=True)
        sound = trial.run(copy, tests, seconds * len(tests))
        if sound.verdict is not Verdict.SURVIVED:
            print(sound.output, "\nThe tests must pass before a fault is planted.", sep="\n")
            return None
        print(f"passed in {sound.seconds:.0f} s", flush=True)
        return {fault.name: _try(copy, fault, seconds) for fault in faults}


def _try(copy: Path, fault: Fault, seconds: float) -> Trial:
    with tree.planted(copy, fault):
        made = trial.run(copy, fault.tests, seconds)
    print(f"{fault.name:34} {made.verdict:9} {made.seconds:6.1f} s  {_shown(made)}", flush=True)
    return made


def _shown(made: Trial) -> str:
    if made.verdict is Verdict.UNDECIDED:
        return made.output[-2000:] if made.status is not None else "ran out of time"
    return (made.failed or "").rpartition("::")[2]


if __name__ == "__main__":
    sys.exit(main())
