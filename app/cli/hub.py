"""`tunesmith import`: a dataset from the hub, fetched by the server."""

from typing import Any

from app.cli.client import Server
from app.cli.output import say
from app.cli.submit import ready


def import_dataset(server: Server, source: dict[str, Any], watch: bool) -> None:
    """Prints the dataset's id first, so that it can be taken from a pipe."""
    dataset = server.post("/datasets/import", {"source": {"type": "hub", **source}})
    found = dataset["source"]
    say(dataset["id"])
    say(f"{found['repo']} at {found['revision']}, licence {found['license'] or 'unknown'}")
    if found["license_note"]:
        say(found["license_note"])
    if watch:
        rows = ready(server, dataset, source["repo"])["num_rows"]
        say(f"ready: {rows:,} rows")
