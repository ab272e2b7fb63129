"""The list of faults still fits code, tests and page; and only a test that fails catches one."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mutants import page
from tests.mutants.fault import Drifted, Fault
from tests.mutants.faults import FAULTS
from tests.mutants.tree import ROOT, planted
from tests.mutants.trial import Verdict

PAGE = (ROOT / "docs" / "mutants.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_applies_and_its_tests_exist(fault: Fault) -> None:
    fault.planted(ROOT)
    fault.check_tests(ROOT)


def test_the_page_lists_the_faults_as_they_are() -> None:
    """`make mutants NAMES=--write` writes it."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")][1:]

    assert len(rows) == len(FAULTS) == len({fault.name for fault in FAULTS})
    for row, fault in zip(rows, FAULTS, strict=True):
        assert row.startswith(page.row(fault))
        assert row.endswith(f"| {page.first_run(fault)} |")


SOUND = "def is_positive(number):\n    return number > 0\n"
TEST = "from code_under_test import is_positive\n\ndef test_it():\n    assert not is_positive(0)\n"


def make_tree(folder: Path, test: str = TEST) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "code_under_test.py").write_text(SOUND)
    (folder / "test_it.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -ra\n")
    return folder


def fault_of(before: str, after: str) -> Fault:
    return Fault("x", "It is wrong.", "code_under_test.py", before, after, ("test_it.py::test_it",))


@pytest.mark.parametrize(
    ("before", "after"),
    [("number < 0", "number > 1"), ("number", "n"), ("> 0", ">"), ("> 0", ">  0")],
    ids=["not there", "there twice", "no Python", "no change"],
)
def test_a_fault_that_does_not_apply_has_drifted(tmp_path: Path, before: str, after: str) -> None:
    with pytest.raises(Drifted):
        fault_of(before, after).planted(make_tree(tmp_path))


def test_a_test_that_is_not_there_has_drifted(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, TEST.replace("test_it", "test_that"))

    with pytest.raises(Drifted):
        fault_of("> 0", ">= 0").check_tests(tree)


RUN = """
import sys
from pathlib import Path
from tests.mutants import trial
for tree in sys.argv[1:]:
    seconds = 1 if "hangs" in tree else 60
    print("verdict", trial.run(Path(tree), ["test_it.py::test_it"], seconds).verdict)
"""
ENDS = {
    "caught": (">= 0", TEST, Verdict.CAUGHT),
    "survived": ("> 1", TEST, Verdict.SURVIVED),
    "error at collection": (">= 0", f"import nowhere\n{TEST}", Verdict.UNDECIDED),
    "error of a fixture": (">= 0", TEST.replace("()", "(no_fixture)"), Verdict.UNDECIDED),
    "hangs": (">= 0", TEST.replace("assert", "while True: assert 1 or"), Verdict.UNDECIDED),
}


@pytest.mark.slow
def test_only_a_test_that_fails_catches_a_fault(tmp_path: Path) -> None:
    with ExitStack() as all_planted:
        for name, (after, test, _) in ENDS.items():
            tree = make_tree(tmp_path / name, test)
            all_planted.enter_context(planted(tree, fault_of("> 0", after)))
        # In a process of its own: a fork of one that has threads may hang.
        command = [sys.executable, "-c", RUN, *(str(tmp_path / name) for name in ENDS)]
        bare = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(command, cwd=ROOT, env=bare, check=True, capture_output=True)

    said = done.stdout.decode()
    verdicts = [line.split()[1] for line in said.splitlines() if line.startswith("verdict")]
    assert verdicts == [verdict for _, _, verdict in ENDS.values()]
    assert {(tmp_path / name / "code_under_test.py").read_text() for name in ENDS} == {SOUND}
