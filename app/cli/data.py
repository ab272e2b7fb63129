"""`tunesmith upload`, `datasets`, `models` and `delete`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.cli import ids, submit
from app.cli.client import Server
from app.cli.output import print_json, say
from app.cli.table import age, pairs, size, table, terminal_width
from app.core.errors import Invalid

_FIELDS = ("id", "name", "status", "format", "row_format", "num_rows", "num_valid_rows", "sha256")


class FileUnreadable(Invalid):
    code = "file_unreadable"


def upload(
    server: Server, file: Path, fields: dict[str, str], *, wait: bool, as_json: bool
) -> None:
    """Upload a file. Prints the id of the dataset on the first line, for scripts."""
    if not file.is_file():
        what = "is not a file" if file.exists() else "does not exist"
        raise FileUnreadable(f"{file} {what}.")
    dataset = server.upload("/datasets", file, **{"name": file.name, **fields})
    if not as_json:
        say(dataset["id"])
    if wait:
        dataset = submit.ready(server, dataset, file)
    if as_json:
        print_json(dataset)
    elif wait:
        say(f"ready: {dataset['num_rows']:,} rows, {dataset['row_format']}")


def show_datasets(server: Server, limit: int, *, as_json: bool) -> None:
    page = server.get("/datasets", limit=limit)
    if as_json:
        print_json(page)
        return
    rows = [
        (
            each["id"],
            each["status"],
            "" if each["num_rows"] is None else f"{each['num_rows']:,}",
            age(each["created_at"]),
            each["name"],
        )
        for each in page["data"]
    ]
    if rows:
        say(table(("id", "status", "rows", "age", "name"), rows, terminal_width()))
    else:
        say("No datasets yet: `tunesmith upload ROWS.jsonl`.")
    if page["has_more"]:
        say(f"The newest {limit} are shown; see more with --limit.")


def show_dataset(server: Server, given: str, *, as_json: bool) -> None:
    """Print a dataset and the problems of its rows."""
    dataset = server.get(f"/datasets/{ids.dataset_id(server, given)}")
    if as_json:
        print_json(dataset)
        return
    fields = [(name, str(dataset[name])) for name in _FIELDS if dataset.get(name) is not None]
    fields.append(("size", size(dataset["num_bytes"])))
    say(pairs([*fields, ("created_at", dataset["created_at"])]))
    if dataset["status"] == "validating":
        return
    for problem in submit.row_problems(server, dataset["id"]):
        say(f"{problem.pointer or 'file'}: {problem.message}")
        say(f"  hint: {problem.hint}" if problem.hint else "")


def show_models(server: Server, *, as_json: bool) -> None:
    page = server.get("/models")
    if as_json:
        print_json(page)
        return
    rows = [
        (
            each["id"],
            _count(each["num_parameters"]),
            _count(each["max_length"]),
            "yes" if each["has_chat_template"] else "no",
            (each["architecture"] or "") if each["is_trainable"] else _refusal(each),
        )
        for each in page["data"]
    ]
    heads = ("model", "parameters", "max_length", "chat", "architecture")
    empty = "No base models: put folders in Hugging Face layout into TUNESMITH_MODELS_DIR."
    say(table(heads, rows, terminal_width()) if rows else empty)


def delete(server: Server, given: Sequence[str]) -> None:
    """Delete jobs (`job_...`) and datasets (`ds_...`)."""
    for each in given:
        if each.startswith("ds_"):
            whole = ids.dataset_id(server, each)
            server.delete(f"/datasets/{whole}")
        else:
            whole = ids.job_id(server, each)
            server.delete(f"/jobs/{whole}")
        say(f"{whole}  deleted")


def _count(number: int | None) -> str:
    if number is None:
        return "?"
    for scale, unit in ((1e9, "B"), (1e6, "M")):
        if number >= scale:
            return f"{number / scale:.1f}{unit}"
    return f"{number:,}"


def _refusal(model: dict[str, Any]) -> str:
    reasons = [problem["message"] for problem in model["problems"]]
    return f"not trainable: {' '.join(reasons)}".rstrip(": ")
