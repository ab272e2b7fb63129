"""`tunesmith demo`: trains the sample job on a stack of its own and measures every step."""

import contextlib
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from app.cli import adapter, background, client, comparison, configuration, follow, submit
from app.cli.download import download_adapter
from app.cli.output import terminal_or_lines
from app.embedded import files
from app.embedded.stack import check_models, check_worker


class Stages:
    """Prints each stage of the demo and measures how long it takes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._console.print(Rule(name, align="left", style="dim"))
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began

    def table(self) -> Table:
        table = Table("stage", "seconds", title="Timings", title_justify="left")
        table.columns[1].justify = "right"
        for name, seconds in {**self.seconds, "total": sum(self.seconds.values())}.items():
            table.add_row(name, f"{seconds:.1f}")
        return table


def demo(data_dir: Path, examples: Path, port: int) -> None:
    settings = configuration.load(data_dir=data_dir, models_dir=examples / "models", port=port)
    check_models(settings.models_dir)
    check_worker()
    # SIGTERM cleans up like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = terminal_or_lines()
    stages = Stages(console)
    with background.stack(settings) as up:
        with stages("Start Postgres, Valkey, API and worker"):
            state = up.ready()
            console.print(state.url)
        _run(state, examples, console, stages)
        if console.is_terminal:
            _stay(up, state.url, console)
    console.print("Everything has stopped.")


def _run(state: files.State, examples: Path, console: Console, stages: Stages) -> None:
    job, archive = _train(state, examples, console, stages)
    folder = Path(state.data_dir) / "adapters" / job["id"]
    with stages("Verify every file against the manifest"):
        num_files = adapter.unpack(archive, folder)
        console.print(f"{num_files} files verified, in {folder}")
    with stages("Compare base and adapter on held-out prompts"):
        base = Path(state.models_dir) / job["model"]
        result = comparison.compare(base, folder, examples / "data" / "tickets_held_out.json")
        console.print(comparison.side_by_side(result))
    console.print(stages.table())
    comparison.judge(result, console)


def _train(
    state: files.State, examples: Path, console: Console, stages: Stages
) -> tuple[Any, Path]:
    with client.connect(state.url) as server:
        with stages("Upload the dataset"):
            dataset = submit.upload(server, examples / "data" / "tickets_train.json")
            console.print(f"{dataset['id']}: {dataset['num_rows']} rows, {dataset['format']}")
        with stages("Train"):
            spec = submit.read_spec(examples / "job.json", [f"dataset={dataset['id']}"])
            job = server.post("/jobs", spec)
            console.print(f"{job['id']}: LoRA on {job['model']}")
            job = follow.finished(follow.follow(server, job["id"], console))
        with stages("Download the adapter"):
            archive = Path(state.data_dir) / "adapters" / f"{job['id']}.zip"
            archive.parent.mkdir(exist_ok=True)
            sha256 = download_adapter(server, job["id"], archive)
            console.print(f"{archive.stat().st_size:,} bytes, sha256 {sha256}, verified")
    return job, archive


def _stay(up: background.Up, url: str, console: Console) -> None:
    console.print(f"\nThe server is still running at {url}. Press Ctrl-C to stop it.")
    with contextlib.suppress(KeyboardInterrupt):
        while up.runs:
            time.sleep(0.5)
    console.print("Stopping.")
