"""Commands about datasets and models. Their implementations are imported only when called."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli import options

DATA = "Data and models"
app = typer.Typer()


@app.command(rich_help_panel=DATA)
def upload(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON, JSON Lines, CSV or Parquet; may be .gz.")
    ],
    name: Annotated[str | None, typer.Option(help="Name to show. Default: the file's.")] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help='Which column is what, e.g. {"instruction": "q", "output": "a"}.'
        ),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until every row was checked.")] = True,
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """Upload a dataset, print its id, and list what is wrong with its rows."""
    from app.cli import client, data

    fields = {key: value for key, value in (("name", name), ("columns", columns)) if value}
    with client.connect(url, data_dir) as server:
        data.upload(server, file, fields, wait=wait, as_json=as_json)


@app.command("import", rich_help_panel=DATA)
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


@app.command(rich_help_panel=DATA)
def datasets(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET", help="Id of the dataset to show, or the beginning of one."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Number of datasets to list.")] = 20,
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """List datasets, newest first, or show one with the problems of its rows."""
    from app.cli import client, data

    with client.connect(url, data_dir) as server:
        if dataset:
            data.show_dataset(server, dataset, as_json=as_json)
        else:
            data.show_datasets(server, limit, as_json=as_json)


@app.command(rich_help_panel=DATA)
def models(
    as_json: options.Json = False,
    url: options.Url = None,
    data_dir: options.DataDir = None,
) -> None:
    """List the base models of the server."""
    from app.cli import client, data

    with client.connect(url, data_dir) as server:
        data.show_models(server, as_json=as_json)
