"""`tunesmith doctor`: the folders of the running stack, and who may read and write them."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from app.cli import doctor, folders
from app.core.settings import Settings
from app.embedded import files
from app.embedded.files import State

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, os, sys
from app.cli import folders
from app.core.settings import Settings
settings = Settings(**json.loads(sys.argv[1]))
list(folders.findings(settings))  # loads all modules, which the other user may not read
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(json.dumps([vars(each) for each in folders.findings(settings)]))
"""


@pytest.fixture
def place():
    """A folder that another user can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "data").mkdir()
        (Path(name) / "models").mkdir()
        yield Path(name)
        for path in Path(name).rglob("*"):
            path.chmod(0o755)


def seen_by_another_user(place, **settings):
    """Find what a user finds who owns nothing here, as in a container."""
    given = {"data_dir": f"{place}/data", "models_dir": f"{place}/models", **settings}
    command = [sys.executable, "-c", PROGRAM, json.dumps({k: str(v) for k, v in given.items()})]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {each["subject"]: each for each in json.loads(done.stdout)}


def test_folders_that_another_user_closed_are_named_with_a_command(place):
    weights = place / "models/tiny/model.safetensors"
    weights.parent.mkdir()
    weights.touch()
    (place / "templates").mkdir()
    for closed, mode in (("data", 0o555), (weights, 0), ("templates", 0)):
        (place / closed).chmod(mode)

    found = seen_by_another_user(place, templates_dir=place / "templates")

    said = {subject: each["text"] for subject, each in found.items() if each["verdict"] == "bad"}
    assert set(said) == {"data folder", "storage", "model", "templates"}
    assert "chown -R" in said["data folder"] or "chmod" in said["data folder"]
    assert str(weights) in said["model"]
    assert f"chmod -R a+rX {place}/models" in said["model"]
    assert f"chmod -R a+rX {place}/templates" in said["templates"]


def test_a_store_elsewhere_is_not_a_folder():
    assert folders.local_store(Settings(storage_url="s3://bucket/prefix")) is None
    assert folders.local_store(Settings(storage_url="file:///a%20b")) == Path("/a b")


def test_the_folders_are_those_of_the_running_stack(tmp_path):
    models = tmp_path / "their models"
    models.mkdir()
    data = files.make_data_dir(tmp_path / "data")
    given = Settings(data_dir=data, models_dir=tmp_path / "absent")

    state = State("http://127.0.0.1:9", os.getpid(), "", str(data), str(models), "", "", {})
    seen = folders.findings(doctor._of_the_stack(given, state))

    assert [each.text for each in seen if each.subject == "models folder"] == [str(models)]
    assert doctor._of_the_stack(given, None) is given


def test_servers_of_your_own_are_not_looked_for_as_embedded_ones(tmp_path):
    urls = {"database_url": "postgresql+psycopg://u:secret@h/d", "redis_url": "redis://h"}

    told = [each.text for each in doctor._servers(Settings.model_validate(urls))]

    assert len(told) == 2
    assert all("your own server" in text and "secret" not in text for text in told)
