"""Embedded Valkey 9 on a loopback port, without persistence: the database is the truth."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from app.embedded.account import Account
from app.embedded.process import Program


@dataclass(frozen=True)
class Valkey:
    server: Path
    account: Account | None
    port: int
    password: str

    def url(self, database: int = 0) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def program(self) -> Program:
        return Program(
            name="valkey",
            command=[str(self.server), "-"],
            environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            stdin=self._config().encode(),  # not a file or an argument, as it has the password
            account=self.account,
        )

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                return _answer(connection) == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False

    def _config(self) -> str:
        return f"""
bind 127.0.0.1
port {self.port}
requirepass {self.password}
save ""
appendonly no
maxmemory-policy noeviction
daemonize no
"""


def _answer(connection: socket.socket) -> bytes:
    received = b""
    while received.count(b"\r\n") < 2 and (piece := connection.recv(64)):
        received += piece
    return received
