"""`tunesmith submit --dry-run`: prints what a job would do and take."""

import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from app.cli.client import Refused, Server
from app.cli.output import print_json, terminal_or_lines
from app.cli.table import size
from app.cli.wording import field
from app.core.errors import Failure, Problem

WAIT_SECONDS = 600.0
_RETRIED = ("dataset_measuring", "dataset_validating")
_FATAL = ("memory_short", "disk_short")
"""Warnings that fail the command. They rest on estimates, which may be off, but must be seen."""


class WouldNotWork(Failure):
    code = "job_would_not_work"


def dry_run(server: Server, spec: dict[str, Any], *, as_json: bool = False) -> None:
    """Print a dry run. Raises Refused or WouldNotWork for a job that cannot work."""
    plan = request(server, spec)
    if as_json:
        print_json(plan)
    else:
        show(plan, terminal_or_lines())
    fatal = [each for each in plan["warnings"] if each["code"] in _FATAL]
    if fatal:
        errors = [Problem(**each) for each in fatal]
        raise WouldNotWork("The job would not work on this server.", errors=errors)


def request(server: Server, spec: dict[str, Any]) -> Any:
    """Request a dry run, repeatedly until the rows have been counted."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return server.post("/jobs?dry_run=true", spec)
        except Refused as refused:
            if refused.server_code not in _RETRIED or time.monotonic() > deadline:
                raise
        time.sleep(1)


def show(plan: dict[str, Any], console: Console) -> None:
    spec = plan["spec"]
    console.print(f"Dry run of {spec['model']} on {plan['dataset']['id']}", highlight=False)
    lines = [f"{name:<10} {text}" for name, text in _lines(plan)]
    for each in plan["warnings"]:
        lines.append(f"warning: {field(each['pointer'])}: {each['message']}")
        lines += [f"  hint: {each['hint']}"] if each["hint"] else []
    for line in lines:
        console.print(Text(line), highlight=False, soft_wrap=True)


def _lines(plan: dict[str, Any]) -> list[tuple[str, str]]:
    rows, held_out, memory = plan["dataset"], plan["validation"], plan["memory"]
    lines = [
        ("rows", f"{_count(rows['rows'])}, trained {_count(rows['trained_rows'])}{_lost(rows)}"),
        ("tokens", f"{_count(rows['tokens'])} per epoch, {_count(rows['trained_tokens'])} trained, "
                   f"{_count(rows['tokens_lost'])} lost"),
    ]  # fmt: skip
    if held_out:
        lines.append(("held out", f"{_count(held_out['rows'])} rows"))
    batch = plan["spec"]["training"]["per_device_train_batch_size"]
    how = "packed" if rows["packed_sequences"] is not None else "one row each"
    lines += [
        ("steps", f"{_count(plan['steps'])}, {_count(plan['steps_per_epoch'])} per epoch, "
                  f"{plan['rows_per_step'] or '?'} rows each"),
        ("rate", _rates(plan["learning_rate"])),
        ("sequences", f"{_count(rows['sequences'])} ({how}), batch size {batch}, longest "
                      f"{_count(rows['widest_sequence'])} tokens"),
        ("memory", _memory(memory) if memory else "unknown"),
    ]  # fmt: skip
    if memory:
        lines += [(verdict, ", ".join(names)) for verdict, names in _by_verdict(memory["fits"])]
    seconds = plan["seconds"]
    time_ = "unknown" if seconds["estimate"] is None else f"about {_duration(seconds['estimate'])}"
    lines += [("disk", size(plan["disk_bytes"])), ("time", f"{time_} ({seconds['basis']})")]
    return lines


def _rates(rates: dict[str, float] | None) -> str:
    if rates is None:
        return "unknown"
    return f"{rates['first']:.3g} first, {rates['highest']:.3g} highest, {rates['last']:.3g} last"


def _lost(rows: dict[str, Any]) -> str:
    names = ("skipped", "dropped", "truncated", "split", "duplicate")
    counts = [f"{rows[f'{name}_rows']:,} {name}" for name in names if rows[f"{name}_rows"]]
    return f" ({', '.join(counts)})" if counts else ""


def _by_verdict(fits: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    for verdict, label in (("yes", "fits"), ("tight", "tight on"), ("no", "not on")):
        if names := [name for name, each in fits.items() if each == verdict]:
            yield label, names


def _memory(memory: dict[str, Any]) -> str:
    parts = (
        "weights",
        "adapter",
        "gradients",
        "optimizer",
        "activations",
        "logits",
        "rows",
        "proof",
        "runtime",
    )
    sizes = ", ".join(f"{name} {size(memory[name])}" for name in parts if memory[name])
    return f"{size(memory['peak_bytes'])} peak on {memory['device']}: {sizes}"


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
