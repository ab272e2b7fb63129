"""No container engine runs here: the files are validated and linted, and their steps are run."""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from app import __version__

ROOT = Path(__file__).parents[1]
DOCKERFILES = sorted(ROOT.glob("docker/*.Dockerfile"))
PASSWORDS = {"POSTGRES_PASSWORD": "a", "VALKEY_PASSWORD": "b"}


def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
    return subprocess.run(
        [program, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


def test_the_compose_file_is_valid():
    done = compose("config", "--quiet", **PASSWORDS)

    assert done.returncode == 0, done.stderr


def test_compose_refuses_to_start_without_passwords():
    done = compose("config", "--quiet")

    assert done.returncode != 0
    assert "set it in .env" in done.stderr


def test_stopping_a_worker_waits_longer_than_stopping_its_trainer():
    from app.core.settings import Settings

    text = (ROOT / "docker-compose.yml").read_text()
    grace = max(int(seconds) for seconds in re.findall(r"stop_grace_period: (\d+)s", text))

    assert grace > 2 * Settings().stop_grace_seconds


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_pass_the_linter(path):
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, path], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_do_not_run_as_root(path):
    users = re.findall(r"^USER (\S+)$", path.read_text(), re.MULTILINE)

    assert users
    assert users[-1] not in {"root", "0"}


def copied(path: Path, to: Path) -> None:
    """Execute the COPY lines of a Dockerfile."""
    for line in re.findall(r"^COPY (.+)$", path.read_text(), re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to / target)
            else:
                shutil.copy(ROOT / source, to / target)


def pip_step(path: Path) -> list[str]:
    [line] = re.findall(r"^RUN pip (install .+)$", path.read_text(), re.MULTILINE)
    return line.replace("'", "").split()


@pytest.fixture(scope="session")
def api_image(tmp_path_factory):
    """What docker/api.Dockerfile builds, in a fresh virtual environment instead of an image."""
    place = tmp_path_factory.mktemp("image")
    copied(ROOT / "docker/api.Dockerfile", place)
    venv.create(place / "venv", with_pip=True)
    pip = [place / "venv/bin/python", "-m", "pip"]
    step = [part for part in pip_step(ROOT / "docker/api.Dockerfile") if part != "--no-cache-dir"]
    done = subprocess.run([*pip, *step], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place


def test_the_api_image_serves_without_torch(api_image):
    code = (
        "import importlib.util as u, app.main, worker.housekeeper.housekeeper;"
        "import app.core.db.migrate as m;"
        "assert not u.find_spec('torch'); assert (m.MIGRATIONS / 'env.py').exists();"
        "print(app.main.__file__)"
    )
    python = api_image / "venv/bin/python"

    done = subprocess.run([python, "-c", code], cwd="/", capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "site-packages" in done.stdout


def test_the_wheel_carries_the_version_of_the_code(api_image):
    code = "from importlib.metadata import version; print(version('tunesmith'))"
    python = api_image / "venv/bin/python"

    done = subprocess.run([python, "-c", code], cwd="/", capture_output=True, text=True)

    assert done.stdout.strip() == __version__


def test_up_in_a_clean_environment_says_what_to_give_it(api_image, tmp_path):
    command = api_image / "venv/bin/tunesmith"

    done = subprocess.run([command, "up"], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 1
    assert "--models-dir DIR" in done.stderr
    assert "pip install '.[worker]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_worker_image_resolves_with_the_pinned_torch(api_image):
    """`make install` really runs this step; here only its versions are resolved."""
    step = pip_step(ROOT / "docker/worker.Dockerfile")
    python = api_image / "venv/bin/python"

    done = subprocess.run(
        [python, "-m", "pip", step[0], "--dry-run", *step[1:]],
        cwd=api_image,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert "torch-2.13.0" in done.stdout
