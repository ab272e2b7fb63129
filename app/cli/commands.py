"""The commands and their options. Their implementations are imported only when called."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli import options

app = typer.Typer(
    help="Fine-tuning as a job API: post a job, watch it learn, download a verified adapter.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]


@app.command()
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


@app.command()
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


@app.command()
def submit(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.json", help="File with the job spec.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="File to upload, or id of a dataset; replaces the spec's `dataset`."),
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
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Submit a job and print its id."""
    from app.cli import client
    from app.cli.submit import submit

    with client.connect(url, data_dir) as server:
        submit(server, spec, dataset, changes or [], watch=follow, is_dry=dry_run)


@app.command("import")
def import_dataset(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Repository: owner/name.")],
    split: Annotated[str, typer.Option(help="Split to import.")] = "train",
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit. Default: the main branch.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Configuration to import, if the dataset has several.")
    ] = None,
    follow: Annotated[bool, typer.Option(help="Wait until the dataset is ready.")] = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Import a dataset from the Hugging Face Hub into the server and print its id."""
    from app.cli import client
    from app.cli.hub import import_dataset

    source = {"repo": repo, "split": split, "revision": revision, "config": config}
    with client.connect(url, data_dir) as server:
        import_dataset(server, source, follow)


@app.command()
def jobs(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Id of the job to show.")] = None,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """List the newest jobs, or show one."""
    from app.cli import client, jobs

    with client.connect(url, data_dir) as server:
        if job:
            jobs.show_one(server, job)
        else:
            jobs.show_all(server)


@app.command()
def logs(
    job: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the job's events until it ends.")
    ] = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Print the trainer log of a job; with -f, follow its events instead."""
    from app.cli import client, jobs

    with client.connect(url, data_dir) as server:
        if follow:
            jobs.follow_log(server, job)
        else:
            jobs.show_log(server, job)


@app.command()
def download(
    job: JobId,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="File or folder to write to. Default: JOB.zip in this folder."
        ),
    ] = None,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Download the adapter of a job and verify its hash. Resumes an interrupted download."""
    from app.cli import client
    from app.cli.download import download_adapter, target_of
    from app.cli.output import say

    target = target_of(output, job)
    with client.connect(url, data_dir) as server:
        sha256 = download_adapter(server, job, target)
        say(f"{target}  sha256 {sha256}")


@app.command()
def doctor(
    data_dir: options.DataDir = None,
    models_dir: options.ModelsDir = None,
    url: options.Url = None,
) -> None:
    """Check this machine for problems that would keep jobs from running. Exit status 1 if any."""
    from app.cli import configuration
    from app.cli.doctor import examine

    settings = configuration.load(data_dir=data_dir, models_dir=models_dir)
    raise typer.Exit(0 if examine(settings, url) else 1)
