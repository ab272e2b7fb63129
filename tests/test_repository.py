"""The files around the code: what they run and promise matches the project."""

import configparser
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_a_commit_runs_make_check_and_nothing_from_elsewhere():
    config = read(ROOT / ".pre-commit-config.yaml")
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]

    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert [hook["entry"] for hook in hooks] == ["make check"]
    assert hooks[0]["always_run"]
    assert not hooks[0]["pass_filenames"]


def test_the_workflow_runs_what_ci_runs_and_may_only_read():
    workflow = read(GITHUB / "workflows/ci.yml")
    job = workflow["jobs"]["ci"]
    used = [step["uses"] for step in job["steps"] if "uses" in step]

    assert job["steps"][-1]["run"] == ".ci/run"
    assert workflow["permissions"] == {"contents": "read"}
    assert job["timeout-minutes"] == 90
    assert all(re.fullmatch(r"[\w/-]+@(v\d+|[0-9a-f]{40})", name) for name in used)


def test_updates_leave_pinned_torch_alone():
    pinned = [
        each
        for each in pyproject()["project"]["optional-dependencies"]["worker"]
        if each.startswith("torch==")
    ]
    pip = next(
        each
        for each in read(GITHUB / "dependabot.yml")["updates"]
        if each["package-ecosystem"] == "pip"
    )

    assert pinned
    assert {"dependency-name": "torch"} in pip["ignore"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_have_what_github_needs(path):
    form = read(path)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in fields]

    assert form["name"]
    assert form["description"]
    assert len(set(names)) == len(names)
    assert all(field["attributes"]["label"] for field in fields)


def test_editors_and_ruff_agree_on_the_width():
    editors = configparser.ConfigParser()
    editors.read_string("[top]\n" + (ROOT / ".editorconfig").read_text(encoding="utf-8"))

    assert editors.getint("*.py", "max_line_length") == pyproject()["tool"]["ruff"]["line-length"]
    assert editors.get("Makefile", "indent_style") == "tab"


def test_the_floor_of_coverage_only_rises():
    """Over every commit that git knows here; a copy without history has nothing to compare."""
    looked = ["git", "log", "--reverse", "--format=", "-p", "-G^fail_under", "--", "pyproject.toml"]
    history = subprocess.run(looked, cwd=ROOT, capture_output=True, text=True)
    floors = [
        int(each) for each in re.findall(r"^\+fail_under = (\d+)", history.stdout, re.MULTILINE)
    ]
    now = pyproject()["tool"]["coverage"]["report"]["fail_under"]

    assert sorted([*floors, now]) == [*floors, now]
    assert now >= 90
