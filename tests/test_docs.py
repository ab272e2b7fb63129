"""The documentation matches the code."""

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from app.cli import reference
from app.cli.descriptions import undescribed

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs/decisions"
INDEX = DECISIONS / "README.md"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob(".github/**/*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/**/*.md"),
    ]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text)

    missing = [target for target in targets if not (page.parent / target).exists()]

    assert not missing


def test_every_make_target_named_in_the_readme_exists():
    named = set(re.findall(r"`?make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    assert named
    assert named <= targets


def test_what_contributing_names_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE))
    folders = re.findall(r"`([a-z_/]+)`", "".join(re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)))

    assert named
    assert named <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert len(folders) > 10
    assert not [folder for folder in folders if not (ROOT / folder).is_dir()]


def test_every_decision_is_in_the_index_with_its_own_title():
    pages = sorted(DECISIONS.glob("[0-9]*.md"))
    rows = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+?)\) \| .+ \|$", INDEX.read_text(), re.MULTILINE)
    titles = [re.match(r"# (\d+)\. (.+)\n", page.read_text(encoding="utf-8")) for page in pages]

    assert len(pages) > 5
    assert [(title[1], title[2]) for title in titles if title] == [row[:2] for row in rows]
    assert [page.name for page in pages] == [row[2] for row in rows]
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))


def test_every_command_named_in_the_readme_exists():
    from typer.main import get_group

    from app.cli import app

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\btunesmith ([a-z]+)\b", text))

    assert named <= set(get_group(app).commands)


def commands_of_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("$(", "\n    ")
    lines = re.findall(r"^    (?:venv/bin/)?tunesmith (.+?)(?: [|&].*)?$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("words", commands_of_the_readme(), ids=" ".join)
def test_every_command_line_of_the_readme_is_accepted_as_written(words):
    """Parsed only; that they work is seen in tests/cli and tests/embedded."""
    from typer.main import get_group

    from app.cli import app

    name, *rest = words
    context = get_group(app).commands[name].make_context(name, rest)

    files = [word for word in rest if word.startswith("examples/")]
    assert context.params
    assert not [file for file in files if not (ROOT / file).is_file()]


def test_the_readme_says_how_the_command_gets_on_the_path_and_what_the_packages_are_called():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    names = packages["targets"]["wheel"]["packages"]

    assert "source .venv/bin/activate" in text
    assert "https://download.pytorch.org/whl/cpu" in text
    assert f"the packages `{'`, `'.join(names[:-1])}` and `{names[-1]}`" in " ".join(text.split())


def test_make_install_shows_what_pip_does():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert not re.search(r"pip install.* -q", makefile)
    assert "@$(PIP_INSTALL)" not in makefile


def test_generated_pages_are_current():
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == reference.settings_page()
    assert (ROOT / "docs/openapi.json").read_text(encoding="utf-8") == reference.openapi()
    assert (ROOT / "docker/env.example").read_text(encoding="utf-8") == reference.env_example()


def test_every_part_of_the_contract_is_described():
    contract = json.loads(reference.openapi())

    assert len(contract["components"]["schemas"]) > 50
    assert undescribed(contract) == []


def test_the_check_of_the_contract_names_what_is_not_described():
    class Inner(BaseModel):
        """Described, unlike its field."""

        alpha: int

    class Spec(BaseModel):
        rank: int
        inner: Inner = Field(description="This one is described.")

    app = FastAPI()

    @app.post("/specs/{number}")
    def create_spec(spec: Spec, number: int, limit: Annotated[int, Query(description="A limit.")]):
        pass

    contract = app.openapi()
    ours = {name: contract["components"]["schemas"][name] for name in ("Inner", "Spec")}
    told = undescribed({**contract, "components": {"schemas": ours}})

    places = [each.removeprefix("The contract does not describe ") for each in told]
    assert [each.partition(":")[0] for each in places] == [
        "the property `alpha` of Inner",
        "the schema Spec",
        "the property `rank` of Spec",
        "the operation POST /specs/{number}",
        "the path parameter `number` of POST /specs/{number}",
    ]
    assert all("write a " in each or "give its " in each for each in told)


HIDDEN: dict[str, Any] = {"properties": {"text": {}}}


@pytest.mark.parametrize(
    "outer",
    [
        HIDDEN,
        {"anyOf": [{"type": "null"}, HIDDEN]},
        {"items": HIDDEN},
        {"prefixItems": [HIDDEN]},
        {"additionalProperties": {"items": HIDDEN}},
    ],
    ids=str,
)
def test_the_check_of_the_contract_sees_what_is_written_inside_a_property(outer):
    spec = {"description": "A spec.", "properties": {"of": {"description": "Outer.", **outer}}}

    (sentence,) = undescribed({"components": {"schemas": {"Spec": spec}}})

    assert "the property `text` of Spec.of" in sentence


def test_the_check_of_the_contract_sees_the_fields_of_a_form():
    schema = {"properties": {"file": {"description": "Data."}, "name": {"description": " "}}}
    operation = {
        "description": "Upload.",
        "requestBody": {"content": {"multipart/form-data": {"schema": schema}}},
    }

    (sentence,) = undescribed({"paths": {"/files": {"post": operation}}})

    assert "the property `name` of the body of POST /files" in sentence


def test_every_setting_is_described():
    rows = [line for line in reference.settings_page().splitlines() if "TUNESMITH_" in line]

    assert rows
    assert not [row for row in rows if row.split(" | ")[2].strip(" |") == ""]


def test_every_error_code_in_the_code_is_documented():
    codes = set()
    for source in [*ROOT.glob("app/**/*.py"), *ROOT.glob("worker/**/*.py")]:
        codes |= set(re.findall(r'^    code = "([a-z_]+)"', source.read_text(), re.MULTILINE))
    documented = (ROOT / "docs/errors.md").read_text(encoding="utf-8")

    assert codes
    assert not {code for code in codes if f"`{code}`" not in documented}


ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
ROOMS = re.findall(r"`((?:app|worker)/[\w/]+\.py):(\w+)`", ARCHITECTURE)


@pytest.mark.parametrize(("room", "name"), ROOMS, ids=lambda each: str(each))
def test_every_room_of_a_walk_exists_and_has_what_it_is_named_for(room, name):
    tree = ast.parse((ROOT / room).read_text(encoding="utf-8"))

    assert name in {each.name for each in tree.body if hasattr(each, "name")}


def test_the_five_walks_are_there():
    walks = re.split(r"^### ", ARCHITECTURE, flags=re.MULTILINE)[1:]

    assert len(walks) == 5
    assert all(len(re.findall(r"^\d+\. `", walk, re.MULTILINE)) >= 5 for walk in walks)


def test_every_place_of_the_layout_exists():
    picture = ARCHITECTURE.split("## Layout")[1].split("```")[1]
    places = re.findall(r"^([\w/.]+)  ", picture, re.MULTILINE)

    assert len(places) > 30
    assert not [each for each in places if not (ROOT / each).exists()]
