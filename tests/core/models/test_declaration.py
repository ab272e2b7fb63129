"""A folder may declare the hub repository that it is a copy of."""

import json

import pytest

from app.core.models import find_model
from app.core.models.folder import inspect
from tests.core.models.standins import write_model

COMMIT = "0123456789" * 4


def declared(folder, content):
    write_model(folder)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "tunesmith.json").write_text(text)
    return inspect(folder.name, folder)


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_declared_repository_is_known(tmp_path, revision):
    content = {"hub_id": "Qwen/Qwen3-0.6B"} | ({"hub_revision": revision} if revision else {})

    found = declared(tmp_path / "qwen", content)

    assert (found.id, found.hub_id, found.hub_revision) == ("qwen", "Qwen/Qwen3-0.6B", revision)
    assert found.revision is None  # a job names no commit of a local folder
    assert found.problems == ()


def test_a_folder_need_not_declare_anything(tmp_path):
    write_model(tmp_path / "plain")

    assert inspect("plain", tmp_path / "plain").hub_id is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ([], "is not a JSON object"),
        ({}, "needs `hub_id`"),
        ({"hub_id": "Qwen3"}, "needs `hub_id`"),
        ({"hub_id": "../Qwen"}, "needs `hub_id`"),
        ({"hub_id": "a/b/c"}, "needs `hub_id`"),
        ({"hub_id": "a/b", "hub_revision": "main"}, "40 hexadecimal digits"),
        ({"hub_id": "a/b", "hub_revison": COMMIT}, "unknown key 'hub_revison'"),
        (" " * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_declaration_that_says_nothing_useful_is_refused(tmp_path, content, said):
    found = declared(tmp_path / "m", content)

    assert [problem.code for problem in found.problems] == ["model_config_bad"]
    assert said in found.problems[0].message
    assert found.hub_id is None


def test_a_job_on_the_folder_finds_the_declaration(settings):
    declared(settings.models_dir / "m", {"hub_id": "a/b"})

    assert find_model(settings, "m", None).hub_id == "a/b"
