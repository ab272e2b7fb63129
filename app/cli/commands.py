"""The commands and their options. What they do lies in modules imported only when called."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli import options

app = typer.Typer(
    help="Fine-tuning as a job API: post a job, watch it learn, download a proven adapter.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")]


@app.command()
def up(
    data_dir: options.DataDir = None,
    models_dir: options.ModelsDir = None,
    host: options.Host = None,
    port: options.Port = None,
    worker: Annotated[bool, typer.Option(help="Train here, or leave that to others.")] = True,
    durable: Annotated[bool, typer.Option(hidden=True)] = True,
) -> None:
    """Start the whole stack here: Postgres, Valkey, API, worker. Ctrl-C stops it."""
    from app.cli import configuration
    from app.cli.up import up
    from app.embedded.stack import Choices

    settings = configuration.load(data_dir=data_dir, models_dir=models_dir, host=host, port=port)
    up(settings, Choices(worker=worker, durable=durable))


@app.command()
def demo(
    data_dir: Annotated[Path, typer.Option(help="Folder of the demo's stack.")] = Path(
        ".tunesmith/demo"
    ),
    examples: Annotated[Path, typer.Option(help="Folder of the sample job.")] = Path("examples"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 0,
) -> None:
    """Start a stack, train the sample job, compare base and adapter on held-out prompts."""
    from app.cli.demo import demo

    demo(data_dir, examples, port)


@app.command()
def submit(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.json", help="The job spec.")],
    dataset: Annotated[
        str | None, typer.Option(help="A file to upload, or the id of a dataset.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="e.g. training.learning_rate=1e-3"),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Watch the job until it ends.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show its plan. Exit status 0 if it would work.")
    ] = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Start a job. Prints its id."""
    from app.cli import client
    from app.cli.submit import submit

    with client.connect(url, data_dir) as server:
        submit(server, spec, dataset, changes or [], watch=follow, is_dry=dry_run)


@app.command("import")
def import_dataset(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="On the hub: owner/name.")],
    split: Annotated[str, typer.Option(help="Which part of it.")] = "train",
    revision: Annotated[
        str | None, typer.Option(help="A branch, a tag or a commit. Default: the main branch.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="Where it has several.")] = None,
    follow: Annotated[bool, typer.Option(help="Wait until it is ready.")] = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Have the server fetch a dataset from the hub. Prints its id."""
    from app.cli import client
    from app.cli.hub import import_dataset

    source = {"repo": repo, "split": split, "revision": revision, "config": config}
    with client.connect(url, data_dir) as server:
        import_dataset(server, source, follow)


@app.command()
def jobs(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="Show this one.")] = None,
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
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job ends.")] = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """What a job's trainer printed; with -f, its events as they come."""
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
        Path | None, typer.Option("-o", "--output", help="File or folder. Default: JOB.zip here.")
    ] = None,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Fetch a job's adapter, checked against its hash. Goes on where an earlier try broke off."""
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
    """Look for what would keep a job from working here. Exit status 1 if something would."""
    from app.cli import configuration
    from app.cli.doctor import examine

    settings = configuration.load(data_dir=data_dir, models_dir=models_dir)
    raise typer.Exit(0 if examine(settings, url) else 1)
