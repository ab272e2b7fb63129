"""Uploads on a real server: cut off, slow, many, large; none costs the others anything."""

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.server import Server
from tests.waiting import wait_until

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"


@pytest.fixture(scope="module")
def server(api_settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    roomy = api_settings.model_copy(update={"max_upload_bytes": 1 << 30})
    server = Server(roomy, tmp_path_factory.mktemp("server") / "log")
    yield server
    server.stop()


def begin(server: Server, length: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(
        b"POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" % length
    )
    return connection


def test_an_upload_cut_anywhere_leaves_nothing(server, settings, world):
    body = HEAD + b"x" * 2_500_000 + TAIL
    chance = random.Random(7)
    offsets = [0, 1, len(HEAD), len(body) - 1, *(chance.randrange(len(body)) for _ in range(16))]
    for offset in offsets:
        with begin(server, len(body)) as connection:
            connection.sendall(body[:offset])

    wait_until(lambda: server.log.count("client_gone") == len(offsets))
    assert world.count() == (0, 0, 0)
    store = Path(settings.store_url.removeprefix("file://"))
    assert [path for path in store.rglob("*") if path.is_file()] == []
    assert "Traceback" not in server.log


def test_stuck_uploads_take_no_thread_from_the_rest(server, settings):
    stuck = [begin(server, 10_000_000) for _ in range(60)]
    for connection in stuck:
        connection.sendall(HEAD + b"x" * 100)
    try:
        with server.client() as client:
            assert [client.get("/jobs").status_code for _ in range(5)] == [200] * 5
    finally:
        for connection in stuck:
            connection.close()


def test_a_large_upload_is_never_held_in_memory(server, settings, world):
    def resident() -> int:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) >> 10

    size = 300
    block = os.urandom(1 << 20)
    # The high-water mark starts anew.
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    before = resident()

    def body() -> Iterator[bytes]:
        yield HEAD
        for _ in range(size):
            yield block
        yield TAIL

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with server.client() as client:
        answer = client.post("/datasets", content=body(), headers=headers, timeout=120)

        assert answer.status_code == 201, answer.text
        assert answer.json()["num_bytes"] == size << 20
        assert resident() - before < 100
        path = f"/datasets/{answer.json()['id']}/content"
        with client.stream("GET", path) as response:
            length = sum(len(chunk) for chunk in response.iter_bytes())
        assert length == size << 20
        assert resident() - before < 100
