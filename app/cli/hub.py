"""`tunesmith import`: imports a dataset from the hub into the server."""

from typing import Any

from app.cli.client import Server
from app.cli.output import say
from app.cli.submit import ready


def import_dataset(server: Server, source: dict[str, Any], watch: bool) -> None:
    """Import a dataset. Prints its id on the first line, so that scripts can read it."""
    dataset = server.post("/datasets/import", {"source": {"type": "hub", **source}})
    found = dataset["source"]
    say(dataset["id"])
    say(f"{found['repo']} at {found['revision']}, license {found['license'] or 'unknown'}")
    if found["license_note"]:
        say(found["license_note"])
    if watch:
        rows = ready(server, dataset, source["repo"])["num_rows"]
        say(f"ready: {rows:,} rows")
