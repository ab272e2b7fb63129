"""`tunesmith submit`, and its steps, which the demo shares: upload, wait, post, follow."""

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from app.cli import progress, stream
from app.cli.client import Server
from app.cli.dry_run import dry_run
from app.cli.output import say, terminal_or_lines
from app.core.errors import Failure, Invalid, Problem

VALIDATION_SECONDS = 600.0


class InvalidDataset(Invalid):
    code = "dataset_invalid"


class JobFailed(Failure):
    code = "job_failed"


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
) -> None:
    spec = read_spec(spec_file, changes)
    if dataset:
        spec["dataset"] = _dataset_id(server, dataset)
    if is_dry:
        dry_run(server, spec)
        return
    job = server.post("/jobs", spec)
    say(job["id"])
    if watch:
        finished(follow(server, job["id"], terminal_or_lines()))


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


def upload(server: Server, file: Path) -> Any:
    """Upload a file and return the ready dataset. Raises InvalidDataset with its problems."""
    return ready(server, server.upload("/datasets", file, name=file.name), file)


def ready(server: Server, dataset: Any, what: object) -> Any:
    """Wait until a dataset has been validated. Raises InvalidDataset if it is not ready."""
    deadline = time.monotonic() + VALIDATION_SECONDS
    while dataset["status"] == "validating" and time.monotonic() < deadline:
        time.sleep(0.2)
        dataset = server.get(f"/datasets/{dataset['id']}")
    if dataset["status"] != "ready":
        raise InvalidDataset(
            f"{what} cannot be trained on: its status is {dataset['status']}.",
            errors=_row_problems(server, dataset["id"]),
        )
    return dataset


def follow(server: Server, job_id: str, console: Console) -> Any:
    """Follow a job until it ends, and return its final state."""
    now = progress.Snapshot()
    with progress.view(console) as view:
        for event in stream.follow(server, job_id):
            now.update(event)
            view.show(event, now)
    return server.get(f"/jobs/{job_id}")


def finished(job: Any) -> Any:
    """Return the job if it succeeded. Otherwise raises JobFailed with the server's reason."""
    if job["status"] == "succeeded":
        return job
    failure = job.get("failure") or {}
    problem = Problem(
        "/failure",
        failure.get("code", job["status"]),
        failure.get("evidence") or failure.get("message", ""),
        failure.get("hint", ""),
    )
    reason = failure.get("message") or job.get("status_reason") or "no reason was given"
    errors = [problem] if failure else []
    raise JobFailed(f"Job {job['id']} {job['status']}: {reason}", errors=errors)


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
    return dataset


def _row_problems(server: Server, dataset_id: str) -> list[Problem]:
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
