"""The command `tunesmith`: its commands for the stack and for submitting, and all the others.

Implementations are imported only when called.
"""

from pathlib import Path
from typing import Annotated

import typer

from app.cli import data_commands, job_commands, options
from app.cli.job_commands import JOBS

app = typer.Typer(
    help="Fine-tuning as a job API: post a job, watch it learn, download a verified adapter.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_STACK = "The stack on this machine"


def _print_version(wanted: bool) -> None:
    if wanted:
        from app import __version__

        print(f"tunesmith {__version__}")
        raise typer.Exit


@app.callback()
def options_of_tunesmith(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Fine-tuning as a job API: post a job, watch it learn, download a verified adapter."""


@app.command(rich_help_panel=_STACK)
def up(
    data_dir: options.DataDir = None,
    models_dir: options.ModelsDir = None,
    host: options.Host = None,
    port: options.Port = None,
    worker: Annotated[bool, typer.Option(help="Run a worker on this machine.")] = True,
    durable: Annotated[bool, typer.Option(hidden=True)] = True,
) -> None:
    """Start the whole stack on this machine: Postgres, Valkey, API and worker. Ctrl-C stops it."""
    from app.cli import configuration
    from app.cli.up import up
    from app.embedded.stack import Choices

    settings = configuration.load(data_dir=data_dir, models_dir=models_dir, host=host, port=port)
    up(settings, Choices(worker=worker, durable=durable))


@app.command(rich_help_panel=_STACK)
def demo(
    data_dir: Annotated[Path, typer.Option(help="Data folder of the demo's stack.")] = Path(
        ".tunesmith/demo"
    ),
    examples: Annotated[Path, typer.Option(help="Folder of the sample job.")] = Path("examples"),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the API; 0 picks a free one.")
    ] = 0,
) -> None:
    """Start a stack, train the sample job, compare base model and adapter on held-out prompts."""
    from app.cli.demo import demo

    demo(data_dir, examples, port)


@app.command(rich_help_panel=JOBS)
def submit(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.json", help="File with the job spec.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="File to upload, or id of a dataset (or its beginning); replaces the spec's "
            "`dataset`."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Override a field of the spec, e.g. training.learning_rate=1e-3. Repeatable.",
        ),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Follow the job until it ends.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show what the job would do, without creating it. Exit status 0 if it would work.",
        ),
    ] = False,
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Submit a job and print its id."""
    from app.cli import client
    from app.cli.submit import submit

    with client.connect(url, data_dir) as server:
        submit(
            server,
            spec,
            dataset,
            changes or [],
            watch=follow,
            is_dry=dry_run,
            as_json=as_json,
        )


@app.command(rich_help_panel=_STACK)
def doctor(
    data_dir: options.DataDir = None,
    models_dir: options.ModelsDir = None,
    as_json: options.Json = False,
    url: options.Url = None,
) -> None:
    """Check this machine for problems that would keep jobs from running. Exit status 1 if any."""
    from app.cli import configuration
    from app.cli.doctor import examine

    settings = configuration.load(data_dir=data_dir, models_dir=models_dir)
    raise typer.Exit(0 if examine(settings, url, as_json=as_json) else 1)


app.add_typer(job_commands.app)
app.add_typer(data_commands.app)
