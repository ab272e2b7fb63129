"""`tunesmith jobs` and `tunesmith logs`: prints jobs, trainer logs and events."""

from typing import Any

from rich.table import Table

from app.cli import progress, stream
from app.cli.client import Server
from app.cli.output import say, terminal_or_lines


def show_all(server: Server) -> None:
    page = server.get("/jobs", limit=20)
    table = Table("id", "name", "model", "status", "step", "created", box=None, pad_edge=False)
    for job in page["data"]:
        state = job.get("phase") if job["status"] == "running" else None
        table.add_row(
            job["id"],
            job.get("name") or "",
            job["model"],
            state or job["status"],
            _steps(job),
            job["created_at"][:19].replace("T", " "),
        )
    empty = "No jobs yet. Submit one with `tunesmith submit SPEC.json`."
    terminal_or_lines().print(table if page["data"] else empty)
    if page["has_more"]:
        say("Older jobs are not shown.")


def show_one(server: Server, job_id: str) -> None:
    """Print the fields of a job, one per line, without empty ones."""
    job = server.get(f"/jobs/{job_id}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for name in (
        *("id", "name", "model", "dataset", "recipe", "status", "phase", "status_reason"),
        *("attempt", "created_at", "started_at", "finished_at", "trained_tokens"),
    ):
        if job.get(name) is not None:
            table.add_row(name, str(job[name]))
    table.add_row("step", _steps(job))
    for name, value in (job.get("metrics") or {}).items():
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    for name, value in (job.get("failure") or {}).items():
        if value not in (None, ""):
            table.add_row(f"failure.{name}", str(value))
    for name, value in (job.get("artifacts") or {}).items():
        table.add_row(name, str(value))
    terminal_or_lines().print(table, soft_wrap=True)


def show_log(server: Server, job_id: str) -> None:
    print(server.text(f"/jobs/{job_id}/logs", format="text"), end="")


def follow_log(server: Server, job_id: str) -> None:
    for event in stream.follow(server, job_id):
        say(progress.line(event))


def _steps(job: dict[str, Any]) -> str:
    at = job.get("progress") or {}
    return f"{at['step']}/{at['max_steps']}" if at.get("max_steps") else ""
