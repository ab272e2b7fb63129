"""The commands and their options. What they do lies in modules imported only when called."""

from typing import Annotated

import typer

from app.cli import options

cli = typer.Typer(
    help="Fine-tuning as a job API: post a job, watch it learn, download a proven adapter.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@cli.command()
def up(
    data_dir: options.DataDir = None,
    models_dir: options.ModelsDir = None,
    host: options.Host = None,
    port: options.Port = None,
    worker: Annotated[bool, typer.Option(help="Train here, or leave that to others.")] = True,
    reaper: Annotated[bool, typer.Option(hidden=True)] = True,
    durable: Annotated[bool, typer.Option(hidden=True)] = True,
) -> None:
    """Start the whole stack here: Postgres, Valkey, API, worker. Ctrl-C stops it."""
    from app.cli import configuration
    from app.cli.up import up
    from app.embedded.stack import Choices

    settings = configuration.load(data_dir=data_dir, models_dir=models_dir, host=host, port=port)
    up(settings, Choices(worker=worker, reaper=reaper, durable=durable))
