"""Rules from docs and pyproject that can be checked automatically."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes")


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    servers = {
        "TUNESMITH_DATABASE_URL": "postgresql+psycopg://-",
        "TUNESMITH_REDIS_URL": "redis://-",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **servers},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_api_process_never_loads_a_training_library():
    loaded = modules_after("import app.main; app.main.create_app")

    assert "fastapi" in loaded
    assert not loaded & set(HEAVY)


def test_the_supervisor_process_never_loads_a_training_library():
    loaded = modules_after("import worker.celery_app, worker.tasks, worker.supervisor.supervisor")

    assert "celery" in loaded
    assert not loaded & set(HEAVY)


def test_the_housekeeper_never_loads_a_training_library():
    assert not modules_after("import worker.housekeeper.housekeeper") & set(HEAVY)


def test_no_name_of_a_dataset_reaches_a_library_that_could_run_its_code():
    """`load_dataset` accepts names, paths and URLs alike; our own code reads files of the hub."""
    sources = [*ROOT.glob("app/**/*.py"), *ROOT.glob("worker/**/*.py")]
    calls = re.compile(r"\bload_dataset|\bload_from_disk|trust_remote_code=True")

    assert len(sources) > 100
    assert not [str(path) for path in sources if calls.search(path.read_text(encoding="utf-8"))]
