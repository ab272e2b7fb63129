"""`tunesmith doctor`: reports what this machine has and what would keep jobs from running."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.cli import client
from app.cli.output import terminal_or_lines
from app.core.errors import Failure
from app.core.models import list_models
from app.core.settings import Settings
from app.embedded import binaries, files
from app.embedded.account import can_enter, servers_account
from app.embedded.ports import listen
from app.embedded.stack import check_models, check_worker

MIN_FREE_BYTES = 2 << 30
_STYLES = {"ok": "green", "note": "yellow", "bad": "red"}


@dataclass(frozen=True)
class Finding:
    verdict: Literal["ok", "note", "bad"]
    """`bad`: something will not work; `note`: for information."""
    subject: str
    text: str


def examine(settings: Settings, url: str | None) -> bool:
    """Print every finding; return True if none is bad."""
    console, healthy = terminal_or_lines(), True
    for finding in findings(settings, url):
        style = _STYLES[finding.verdict]
        console.print(f"[{style}]{finding.verdict:<4}[/]  {finding.subject:<14}", end="")
        console.print(finding.text, markup=False, highlight=False, soft_wrap=True)
        healthy = healthy and finding.verdict != "bad"
    return healthy


def findings(settings: Settings, url: str | None) -> Iterator[Finding]:
    yield _python()
    yield _try("postgres", lambda: str(binaries.postgres_programs(None)))
    yield _try("valkey", lambda: str(binaries.valkey_server(None)))
    yield _try("training", _training_packages, bad="note")
    yield _gpu()
    yield _data_folder(settings.data_dir.absolute())
    yield _disk(settings.data_dir.absolute())
    yield from _models(settings)
    yield from _server(settings, url)


def _python() -> Finding:
    fits = sys.version_info[:2] == (3, 11)
    text = f"{platform.python_version()} at {sys.executable}"
    return Finding("ok" if fits else "bad", "python", text if fits else f"{text}; 3.11 is required")


def _training_packages() -> str:
    check_worker()
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))


def _gpu() -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding("note", "gpu", "nvidia-smi not found: jobs train on the CPU")
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode != 0:
        return Finding("note", "gpu", f"nvidia-smi failed: {done.stdout.strip()[:200]}")
    return Finding("ok", "gpu", done.stdout.strip().replace("\n", "; "))


def _data_folder(folder: Path) -> Finding:
    try:
        files.make_data_dir(folder)
        (folder / ".doctor").touch()
        (folder / ".doctor").unlink()
    except (Failure, OSError) as error:
        return Finding("bad", "data folder", str(error))
    account = servers_account()
    if account and not can_enter(account, folder):
        text = f"{folder}; Postgres stores its files elsewhere: `{account.name}` cannot enter it"
        return Finding("note", "data folder", text)
    return Finding("ok", "data folder", str(folder))


def _disk(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    enough = free >= MIN_FREE_BYTES
    text = f"{free / 2**30:.1f} GiB free" + ("" if enough else "; at least 2 GiB are required")
    return Finding("ok" if enough else "bad", "disk", text)


def _models(settings: Settings) -> Iterator[Finding]:
    yield (folder := _try("models folder", lambda: _checked(settings.models_dir)))
    if folder.verdict == "bad":
        return
    for model in list_models(settings):
        for problem in model.problems:
            text = " ".join([model.id, "cannot be used:", problem.message, problem.hint]).strip()
            yield Finding("bad", "model", text)
        if not model.problems:
            yield Finding("ok", "model", f"{model.id} ({model.architecture})")


def _checked(models_dir: Path) -> str:
    check_models(models_dir)
    return str(models_dir.absolute())


def _server(settings: Settings, url: str | None) -> Iterator[Finding]:
    running = files.running(settings.data_dir)
    if running is None and url is None:
        yield _try("port", lambda: _bindable(settings))
        text = "none is running on this data folder; start one with `tunesmith up`"
        yield Finding("note", "stack", text)
        return
    with client.connect(url, settings.data_dir) as server:
        yield _try("stack", lambda: _answer(server))


def _answer(server: client.Server) -> str:
    ready = server.get("/readyz")
    checks = ", ".join(f"{name} {state}" for name, state in ready["checks"].items())
    return f"{server.url} answers: {ready['status']} ({checks})"


def _bindable(settings: Settings) -> str:
    listen(settings.host, settings.port).close()
    return f"{settings.host}:{settings.port} is free"


def _try(subject: str, look: Callable[[], str], bad: Literal["note", "bad"] = "bad") -> Finding:
    try:
        return Finding("ok", subject, look())
    except Failure as failure:
        return Finding(bad, subject, failure.detail)
