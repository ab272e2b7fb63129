"""The API as deployed: uvicorn in a separate process, and a reader of its event streams."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.core.settings import Settings
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Message:
    id: str | None
    event: str
    data: str


class Server:
    def __init__(self, settings: Settings, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        environment = {
            f"TUNESMITH_{name.upper()}": str(value)
            for name, value in settings.model_dump(exclude_defaults=True).items()
        }
        words = ["uvicorn", "app.main:create_app", "--factory", "--port", str(self.port)]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words],
                env={**os.environ, **environment},
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._answers, timeout=60)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=20)

    def stop(self, timeout: float = 10) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


def messages(response: httpx.Response) -> Iterator[Message]:
    """Yield the events of a stream; comments and the retry line are skipped."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if not line:
            if "data" in fields:
                yield Message(fields.get("id"), fields.get("event", "message"), fields["data"])
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
