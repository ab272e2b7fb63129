"""Every field of the job spec has its description, unit, default and allowed range."""

import json
from pathlib import Path

import pytest

from app.api.spec_contract import is_numeric, models_of
from app.cli import reference
from app.cli.spec_page import allowed
from app.core.jobs.spec import JobSpec

ROOT = Path(__file__).parents[1]
SCHEMAS = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))["components"][
    "schemas"
]
FIELDS = [
    pytest.param(SCHEMAS[model.__name__], name, id=f"{model.__name__}.{name}")
    for model in models_of(JobSpec)
    for name in model.model_fields
]
BOUNDS = {"minimum", "exclusiveMinimum", "enum", "const"}


@pytest.mark.parametrize(("schema", "name"), FIELDS)
def test_a_field_says_all_that_a_caller_must_know(schema, name):
    node = schema["properties"][name]

    assert node["description"].strip()
    assert ("default" in node) != (name in schema.get("required", ()))
    if is_numeric(node):
        branches = [each for each in node.get("anyOf", [node]) if each.get("type") != "null"]
        assert all(BOUNDS & each.keys() for each in branches), "give it a range"
        assert node.get("x-unit"), "name its unit in app/core/jobs/units.py"


def test_defaults_are_those_of_the_code():
    spec = JobSpec(model="m", dataset="d").model_dump(mode="json")

    for name, node in SCHEMAS["JobSpec"]["properties"].items():
        if "default" in node and "$ref" not in node:
            assert node["default"] == spec[name]
    for part in ("lora", "training", "limits"):
        for name, value in spec[part].items():
            reference_ = SCHEMAS["JobSpec"]["properties"][part]["$ref"].rpartition("/")[2]
            assert SCHEMAS[reference_]["properties"][name]["default"] == value


def test_the_page_has_every_field_by_the_name_that_set_takes():
    page = (ROOT / "docs/job-spec.md").read_text(encoding="utf-8")

    assert page == reference.job_spec_page()
    for name in ("`model`", "`training.max_length`", "`lora.r`", "`validation.fraction`"):
        assert f"| {name} | " in page
    row = next(line for line in page.splitlines() if line.startswith("| `lora.lora_dropout`"))
    assert "| number, at least 0, below 1 | probability | `0.05` |" in row


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 1024}, "integer, at least 1, at most 1,024"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "number; or null"),
        ({"enum": ["a", "b"]}, "`a`, `b`"),
        ({"type": "string", "minLength": 1, "maxLength": 9}, "text, 1 to 9 characters"),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "list, 1 or more, each text",
        ),
    ],
)
def test_a_range_in_words(node, words):
    assert allowed(node) == words
