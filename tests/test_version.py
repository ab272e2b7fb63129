"""The version is defined in `app/__init__.py`, and every other place agrees with it.

The version of a wheel is checked in test_docker.py, where one is built.
"""

import json
import re
import tomllib
from pathlib import Path

from sqlalchemy import select

from app import __version__
from app.core.db.models import Worker
from app.core.db.session import Sessions, transaction
from app.core.settings import Settings
from app.main import create_app
from tests.waiting import wait_until
from worker.presence import Presence
from worker.threads import start_thread

ROOT = Path(__file__).parents[1]


def test_the_package_takes_its_version_from_the_code():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert "version" in pyproject["project"]["dynamic"]
    assert pyproject["tool"]["hatch"]["version"]["path"] == "app/__init__.py"


def test_no_other_source_spells_the_version():
    sources = [*ROOT.glob("app/**/*.py"), *ROOT.glob("worker/**/*.py"), ROOT / "pyproject.toml"]
    spelled = [path for path in sources if f'"{__version__}"' in path.read_text(encoding="utf-8")]

    assert spelled == [ROOT / "app/__init__.py"]


def test_the_contract_tells_the_version(settings: Settings):
    written = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))

    assert create_app(settings).openapi()["info"]["version"] == __version__
    assert written["info"]["version"] == __version__


def test_a_worker_tells_the_version(settings: Settings, sessions: Sessions):
    def shown() -> str | None:
        with transaction(sessions) as session:
            return session.scalar(select(Worker.version).where(Worker.id == "worker_1"))

    presence = Presence(settings, sessions, "worker_1")
    beat = start_thread("beat", presence.beat)
    try:
        assert wait_until(shown, 10) == __version__
    finally:
        presence.leave()
        beat.join(timeout=10)


def test_the_changelog_has_a_section_for_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.M)
