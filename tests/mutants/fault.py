"""A fault: a text of one file, what stands there instead, and the tests that should notice."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path


class Drifted(Exception):
    """The list no longer fits the code."""


@dataclass(frozen=True)
class Fault:
    name: str
    wrong: str
    """What the planted code does wrong, in a few words."""
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    """The narrowest that should fail: `tests/worker/test_x.py::test_y`."""
    survived_at_first: bool = False
    """Nothing failed when it was planted for the first time; a test was written then."""

    def planted(self, root: Path) -> str:
        """The file's text with the fault in it. Raises Drifted."""
        path = root / self.file
        if not path.is_file():
            raise Drifted(f"{self.name}: there is no {self.file}.")
        text = path.read_text(encoding="utf-8")
        if (times := text.count(self.before)) != 1:
            raise Drifted(f"{self.name}: its text occurs {times} times in {self.file}, not once.")
        changed = text.replace(self.before, self.after)
        try:
            same = ast.dump(ast.parse(changed)) == ast.dump(ast.parse(text))
        except SyntaxError as error:
            raise Drifted(f"{self.name}: planted, {self.file} is not Python: {error}.") from error
        if same:
            raise Drifted(f"{self.name}: it changes nothing in {self.file}.")
        return changed

    def check_tests(self, root: Path) -> None:
        """Raises Drifted for a test that does not exist."""
        for test in self.tests:
            file, _, name = test.partition("::")
            path = root / file
            is_there = path.is_file() and re.search(
                rf"^def {re.escape(name)}\(", path.read_text(encoding="utf-8"), re.MULTILINE
            )
            if not is_there:
                raise Drifted(f"{self.name}: there is no test {test}.")
