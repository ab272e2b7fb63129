"""A copy of the working tree, in which faults are planted and taken out again."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

from tests.mutants.fault import Fault

ROOT = Path(__file__).parents[2]


@contextmanager
def copied() -> Iterator[Path]:
    """Every file git tracks or would track, as it is now; nothing is written to the original."""
    parent = Path(tempfile.mkdtemp(prefix="tunesmith-mutants-"))
    # The servers of the tests run as another user when we are root.
    parent.chmod(0o755)
    try:
        tree = parent / "tree"
        for name in _files():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
        yield tree
    finally:
        shutil.rmtree(parent, ignore_errors=True)


@contextmanager
def planted(tree: Path, fault: Fault) -> Iterator[None]:
    """The fault is in the tree while the block runs. Raises Drifted."""
    path = tree / fault.file
    text = path.read_text(encoding="utf-8")
    _write(path, fault.planted(tree))
    try:
        yield
    finally:
        _write(path, text)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # Python compares size and whole seconds: a change of equal length may go unseen.
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def _files() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    return [name for name in listed.split("\0") if (ROOT / name).is_file()]
