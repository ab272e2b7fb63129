"""Write the generated pages and docker/env.example, or with --check report outdated ones.

A part of the contract without a description is an error in both cases.
"""

import ast
import inspect
import json
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

from app.cli.descriptions import undescribed
from app.cli.spec_page import spec_page
from app.core.datasets.checking.codes import CODES
from app.core.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"

HEAD = """# Settings

Generated from `app/core/settings.py` by `make docs`. Each setting is an environment variable; lists
are written as JSON.

| variable | default | meaning |
|---|---|---|
"""

ENV_HEAD = """\
# Copy to .env beside docker-compose.yml and set the two passwords. Use only letters and digits in
# them: they become part of URLs. Generated from `app/core/settings.py` by `make docs`.
POSTGRES_PASSWORD=
VALKEY_PASSWORD=

# Folder of the base models on this machine. User 10001 of the containers must be able to read it:
# see "With Docker" in docs/operations.md.
# MODELS_DIR=./examples/models

# Folder of prompt templates of your own on this machine, readable like the models.
# TEMPLATES_DIR=./docker/templates

# GPU of the worker, as nvidia-smi numbers them.
# GPU=0

# Port of the API on this machine, on its loopback address only.
# PORT=8000

# The settings of Tunesmith, each with its default. Lists are written as JSON.
"""
SET_BY_COMPOSE = frozenset(
    {"database_url", "redis_url", "data_dir", "models_dir", "templates_dir", "host", "port"}
)
"""Settings that the compose file sets itself, or that only the embedded stack reads."""
IN_COMPOSE = {
    "storage_url": "file:///data/store",
    "device": "cuda:0",
    "allowed_hosts": '["localhost","127.0.0.1","api"]',
}
"""Defaults that the compose file gives instead of those of the code."""

REPORT_HEAD = """# Problems in a dataset report

Generated from `app/core/datasets/checking/codes.py` by `make docs`. An error makes the dataset
invalid and excludes its row from training; a warning or an info does not.
`GET /datasets/{id}/report` gives the row, the line and the JSON pointer of each problem.

| code | severity | what to do |
|---|---|---|
"""


def settings_page() -> str:
    notes = _field_notes()
    rows = [
        f"| `TUNESMITH_{name.upper()}` | `{_default(field.default)}` | {notes.get(name, '')} |"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


def env_example() -> str:
    notes = _field_notes()
    lines = []
    for name, field in Settings.model_fields.items():
        if name not in SET_BY_COMPOSE:
            note = textwrap.fill(notes[name], 100, initial_indent="# ", subsequent_indent="# ")
            default = IN_COMPOSE.get(name, _default(field.default))
            lines.append(f"\n{note}\n# TUNESMITH_{name.upper()}={default}")
    return ENV_HEAD + "\n".join(lines) + "\n"


def dataset_report_page() -> str:
    rows = [f"| `{name}` | {code.severity} | {code.hint} |" for name, code in CODES.items()]
    return REPORT_HEAD + "\n".join(rows) + "\n"


def openapi() -> str:
    return json.dumps(contract(), indent=1, sort_keys=True) + "\n"


def job_spec_page() -> str:
    # Not from the file, whose keys are sorted: the page keeps the order of the fields.
    return spec_page(contract()["components"]["schemas"])


@cache
def contract() -> dict[str, Any]:
    # Imported here: the settings page needs no application.
    from app.main import create_app

    # No connection is made before the first request.
    nowhere = Settings(
        database_url="postgresql+psycopg://127.0.0.1:1/docs", redis_url="redis://127.0.0.1:1"
    )
    return create_app(nowhere).openapi()


def _default(value: object) -> str:
    if isinstance(value, frozenset | tuple):
        return json.dumps(sorted(map(str, value)))
    return "" if value is None else str(value)


def _field_notes() -> dict[str, str]:
    """Return the docstring under each field, on one line."""
    body = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(body, ast.ClassDef)
    notes = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_note = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            text = str(below.value.value) if is_note else ""  # type: ignore[attr-defined]
            notes[field.target.id] = " ".join(text.split())
    return notes


def main() -> int:
    pages = {
        "settings.md": settings_page(),
        "dataset-report.md": dataset_report_page(),
        "openapi.json": openapi(),
        "job-spec.md": job_spec_page(),
        "../docker/env.example": env_example(),
    }
    silent = undescribed(json.loads(pages["openapi.json"]))
    for sentence in silent:
        print(sentence, file=sys.stderr)
    drifted = [name for name, text in pages.items() if _read(DOCS / name) != text]
    if "--check" in sys.argv:
        for name in drifted:
            page = (DOCS / name).resolve().relative_to(DOCS.parent)
            print(f"{page} has drifted from the code: run `make docs`.", file=sys.stderr)
        return int(bool(drifted or silent))
    for name in drifted:
        (DOCS / name).write_text(pages[name], encoding="utf-8")
    return int(bool(silent))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    raise SystemExit(main())
