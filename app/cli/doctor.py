"""`tunesmith doctor`: reports what this machine has and what would keep jobs from running."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from app.cli import client, folders
from app.cli.finding import Finding
from app.cli.output import print_json, terminal_or_lines
from app.core.errors import Failure
from app.core.settings import Settings
from app.embedded import binaries, files
from app.embedded.ports import listen
from app.embedded.stack import check_worker

_STYLES = {"ok": "green", "note": "yellow", "bad": "red"}


def examine(settings: Settings, url: str | None, *, as_json: bool = False) -> bool:
    """Print every finding; return True if none is bad."""
    if as_json:
        found = list(findings(settings, url))
        print_json([vars(each) for each in found])
        return all(each.verdict != "bad" for each in found)
    console, healthy = terminal_or_lines(), True
    for finding in findings(settings, url):
        style = _STYLES[finding.verdict]
        console.print(f"[{style}]{finding.verdict:<4}[/]  {finding.subject:<14}", end="")
        console.print(finding.text, markup=False, highlight=False, soft_wrap=True)
        healthy = healthy and finding.verdict != "bad"
    return healthy


def findings(settings: Settings, url: str | None) -> Iterator[Finding]:
    running = files.running(settings.data_dir)
    yield _python()
    yield from _servers(settings)
    yield _try("training", _training_packages, bad="note")
    yield _gpu()
    yield from folders.findings(_of_the_stack(settings, running))
    yield from _server(settings, url, running)


def _of_the_stack(settings: Settings, running: files.State | None) -> Settings:
    """Look at the folders that a running stack uses, whatever this command was given."""
    if running is None:
        return settings
    used = {"data_dir": Path(running.data_dir), "models_dir": Path(running.models_dir)}
    return settings.model_copy(update=used)


def _servers(settings: Settings) -> Iterator[Finding]:
    own = "your own server, not the embedded one"
    if settings.database_url:
        yield Finding("ok", "postgres", f"TUNESMITH_DATABASE_URL: {own}")
    else:
        yield _try("postgres", lambda: str(binaries.postgres_programs(None)))
    if settings.redis_url:
        yield Finding("ok", "valkey", f"TUNESMITH_REDIS_URL: {own}")
    else:
        yield _try("valkey", lambda: str(binaries.valkey_server(None)))


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


def _server(settings: Settings, url: str | None, running: files.State | None) -> Iterator[Finding]:
    # With servers of its own, this is a part of a larger stack, such as a container.
    if running is None and url is None and not settings.database_url:
        yield _try("port", lambda: _bindable(settings))
        text = "none is running on this data folder; start one with `tunesmith up`"
        yield Finding("note", "stack", text)
        return
    with client.connect(url, settings.data_dir) as server:
        yield (answer := _try("stack", lambda: _answer(server)))
        if answer.verdict == "ok":
            yield _try("workers", lambda: _workers(server), bad="note")


def _workers(server: client.Server) -> str:
    alive = [each for each in server.get("/workers")["data"] if each["status"] == "alive"]
    devices = ", ".join(f"{each['device']} on {each['hostname']}" for each in alive)
    return devices or "none is alive: jobs wait until one starts"


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
