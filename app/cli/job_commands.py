"""Commands about jobs. Their implementations are imported only when called."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli import options

JOBS = "Jobs"
app = typer.Typer()
JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of the job, or the beginning of one.")
]


class Status(StrEnum):
    """States of a job, repeated here because the command's help must not load the contract."""

    VALIDATING = "validating"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@app.command(rich_help_panel=JOBS)
def jobs(
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="Id of the job to show, or the beginning of one."),
    ] = None,
    status: Annotated[
        list[Status] | None, typer.Option(help="Only jobs in this state. Repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Number of jobs to list.")] = 20,
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """List jobs (running and waiting ones first), or show one."""
    from app.cli import client, jobs

    with client.connect(url, data_dir) as server:
        if job:
            jobs.show_one(server, job, as_json=as_json)
        else:
            jobs.show_all(server, status or [], limit, as_json=as_json)


@app.command(rich_help_panel=JOBS)
def queue(
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Show the workers, and which jobs wait and why."""
    from app.cli import client, jobs

    with client.connect(url, data_dir) as server:
        jobs.show_queue(server, as_json=as_json)


@app.command(rich_help_panel=JOBS)
def logs(
    job: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the job's events until it ends.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Number of lines from the end.")
    ] = None,
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Print what the trainer of a job wrote; with -f, follow the job's events instead."""
    from app.cli import client, jobs

    with client.connect(url, data_dir) as server:
        if follow:
            jobs.follow_log(server, job)
        else:
            jobs.show_log(server, job, tail=tail, as_json=as_json)


@app.command(rich_help_panel=JOBS)
def cancel(
    job: Annotated[
        list[str], typer.Argument(metavar="JOB...", help="Ids of jobs, or beginnings of ids.")
    ],
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Cancel jobs that wait or run."""
    from app.cli import client, jobs

    with client.connect(url, data_dir) as server:
        jobs.cancel(server, job, as_json=as_json)


@app.command(rich_help_panel=JOBS)
def checkpoints(
    job: JobId,
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """List the checkpoints of a job, newest first."""
    from app.cli import client, jobs

    with client.connect(url, data_dir) as server:
        jobs.show_checkpoints(server, job, as_json=as_json)


@app.command(rich_help_panel=JOBS)
def samples(
    job: JobId,
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Show the answers of base model and adapter to the sample prompts of a job."""
    from app.cli import client, jobs

    with client.connect(url, data_dir) as server:
        jobs.show_samples(server, job, as_json=as_json)


@app.command(rich_help_panel=JOBS)
def download(
    job: JobId,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="File or folder to write to. Default: JOB.zip in this folder."
        ),
    ] = None,
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Download the adapter of a job and verify its hash. Resumes an interrupted download."""
    from app.cli import client
    from app.cli.download import download_adapter, target_of
    from app.cli.ids import job_id
    from app.cli.output import print_json, say

    target_of(output, job)  # a path that cannot be used is refused before the server is asked
    with client.connect(url, data_dir) as server:
        whole = job_id(server, job)
        target = target_of(output, whole)
        sha256 = download_adapter(server, whole, target)
        if as_json:
            print_json({"job": whole, "path": str(target), "sha256": sha256})
        else:
            say(f"{target}  sha256 {sha256}")


@app.command(rich_help_panel=JOBS)
def delete(
    things: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...", help="Ids of jobs (job_...) or datasets (ds_...), or their beginnings."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Delete jobs with their adapters, logs and metrics, or datasets with their files."""
    import sys

    from app.cli import client, data

    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {', '.join(things)} for good?", abort=True)
    with client.connect(url, data_dir) as server:
        data.delete(server, things)
