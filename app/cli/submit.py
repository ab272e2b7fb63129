"""`tunesmith submit`, and its steps, which the demo shares: upload, wait, post."""

import json
import time
from pathlib import Path
from typing import Any

from app.cli import ids
from app.cli.client import Server
from app.cli.dry_run import dry_run
from app.cli.follow import follow_to_end
from app.cli.output import print_json, say, terminal_or_lines
from app.core.errors import Invalid, Problem

VALIDATION_SECONDS = 600.0


class InvalidDataset(Invalid):
    code = "dataset_invalid"


class SpecUnreadable(Invalid):
    code = "spec_unreadable"


def submit(
    server: Server,
    spec_file: Path,
    dataset: str | None,
    changes: list[str],
    *,
    watch: bool,
    is_dry: bool = False,
    as_json: bool = False,
) -> None:
    spec = read_spec(spec_file, changes)
    if dataset:
        spec["dataset"] = _dataset_id(server, dataset)
    if is_dry:
        dry_run(server, spec, as_json=as_json)
        return
    job = server.post("/jobs", spec)
    if as_json:
        print_json(job)
    else:
        say(job["id"])
    if watch:
        follow_to_end(server, job["id"], terminal_or_lines())


def read_spec(file: Path, changes: list[str]) -> dict[str, Any]:
    """Read the spec and apply changes `name.name=value`; a value is JSON, or else a string."""
    try:
        spec: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecUnreadable(f"Cannot read {file}: {error.strerror}.") from None
    except ValueError as error:
        raise SpecUnreadable(f"{file} is not JSON: {error}.") from None
    if not isinstance(spec, dict):
        raise SpecUnreadable(
            f'{file} is not a JSON object: write {{"model": ..., "dataset": ...}}.'
        )
    for change in changes:
        _apply(spec, change)
    return spec


def upload(server: Server, file: Path, **fields: str) -> Any:
    """Upload a file and return the ready dataset. Raises InvalidDataset with its problems."""
    return ready(server, server.upload("/datasets", file, **{"name": file.name, **fields}), file)


def ready(server: Server, dataset: Any, what: object) -> Any:
    """Wait until a dataset has been validated. Raises InvalidDataset if it is not ready."""
    deadline = time.monotonic() + VALIDATION_SECONDS
    while dataset["status"] == "validating" and time.monotonic() < deadline:
        time.sleep(0.2)
        dataset = server.get(f"/datasets/{dataset['id']}")
    if dataset["status"] != "ready":
        raise InvalidDataset(
            _not_ready(what, dataset),
            errors=row_problems(server, dataset["id"]),
        )
    return dataset


def _not_ready(what: object, dataset: Any) -> str:
    told = f"{what} ({dataset['id']})"
    if dataset["status"] == "validating":
        return f"{told} is still being validated; `tunesmith datasets {dataset['id']}` shows it."
    if dataset.get("num_valid_rows"):
        good, rows = dataset["num_valid_rows"], dataset["num_rows"]
        return f"{told} is invalid: {good:,} of its {rows:,} rows can be trained on. Its problems:"
    return f"{told} is invalid and cannot be trained on:"


def _apply(spec: dict[str, Any], change: str) -> None:
    name, equals, value = change.partition("=")
    if not equals:
        raise SpecUnreadable(f"--set {change}: write NAME=VALUE.")
    *path, last = name.split(".")
    inner = spec
    for depth, part in enumerate(path, 1):
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            owner = ".".join(path[:depth])
            raise SpecUnreadable(f"--set {change}: `{owner}` is not an object in this spec.")
    inner[last] = _value(value)


def _dataset_id(server: Server, dataset: str) -> str:
    """Return the dataset's id, uploading it if it is a file. A path must name an existing file."""
    file = Path(dataset)
    if file.is_file():
        return str(upload(server, file)["id"])
    is_id = dataset.startswith("ds_") and file.name == dataset and not file.suffix
    if not is_id:
        what = "is not a file" if file.exists() else "does not exist"
        raise InvalidDataset(
            f"{dataset} {what}. Pass a file to upload, or the id of a dataset (ds_...)."
        )
    return ids.dataset_id(server, dataset)


def row_problems(server: Server, dataset_id: str) -> list[Problem]:
    report = server.get(f"/datasets/{dataset_id}/report")
    return [
        Problem(
            _place(found),
            found.get("code", ""),
            found.get("message", ""),
            found.get("hint") or "",
        )
        for found in (report.get("problems") or [])[:20]
    ]


def _place(problem: dict[str, Any]) -> str:
    if problem.get("line"):
        return f"line {problem['line']}"
    return "" if problem.get("row") is None else f"row {problem['row']}"


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
