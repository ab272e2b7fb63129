"""Uploads on a real server: aborted, slow, many, large; none of them affects the others."""

import hashlib
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.server import Server
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"
MEBIBYTES = int(os.environ.get("TEST_UPLOAD_MEBIBYTES", "300"))
"""Size of the large upload in MiB. reliability.md promises 5120, which needs 10 GB of disk."""
MAX_GROWTH = 100
BLOCK = random.Random(7).randbytes(1 << 20)


@pytest.fixture(scope="module")
def server(api_settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    roomy = api_settings.model_copy(update={"max_upload_bytes": 6 << 30})
    server = Server(roomy, tmp_path_factory.mktemp("server") / "log")
    yield server
    server.stop()


def begin(server: Server, length: int) -> socket.socket:
    kind = b"multipart/form-data; boundary=b"
    return request(server, b"POST /datasets", length, kind)


def request(server: Server, line: bytes, length: int, kind: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = b"%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nContent-Type: %s\r\n\r\n"
    connection.sendall(head % (line, length, kind))
    return connection


def files_of(settings) -> list[Path]:
    store = Path(settings.store_url.removeprefix("file://"))
    return [path for path in store.rglob("*") if path.is_file()]


def num_gone(server: Server) -> int:
    return server.log.count("client_gone")


# Objects below 8 MiB are stored in one write, larger ones in several.
@pytest.mark.parametrize(("size", "num_cuts"), [(2_500_000, 80), (20_000_000, 20)])
def test_an_upload_cut_anywhere_leaves_nothing(server, settings, world, size, num_cuts):
    body, before = HEAD + b"x" * size + TAIL, num_gone(server)
    chance = random.Random(size)
    known = [0, 1, len(HEAD), len(body) - 1]
    offsets = known + [chance.randrange(len(body)) for _ in range(num_cuts - len(known))]
    for offset in offsets:
        with begin(server, len(body)) as connection:
            connection.sendall(body[:offset])

    wait_until(lambda: num_gone(server) - before == num_cuts)
    assert world.count() == (0, 0, 0)
    assert files_of(settings) == []
    assert "Traceback" not in server.log


def test_a_part_cut_anywhere_leaves_nothing(server, settings, world):
    sizes = [2_500_000] * 80 + [20_000_000] * 20
    chance, before = random.Random(9), num_gone(server)
    with server.client() as client:
        told = {"name": "x", "num_bytes": 30_000_000, "sha256": "0" * 64}
        path = f"/datasets/uploads/{client.post('/datasets/uploads', json=told).json()['id']}"
        for number, size in enumerate(sizes, 1):
            line = f"PUT {path}/parts/{number}".encode()
            with request(server, line, size, b"application/octet-stream") as connection:
                connection.sendall(b"x" * chance.randrange(size))

        wait_until(lambda: num_gone(server) - before == len(sizes))
        assert client.get(path).json()["parts"] == []
        assert client.post(f"{path}/complete").json()["code"] == "upload_incomplete"
        assert client.get("/datasets").json()["data"] == []
        assert files_of(settings) == []
        assert client.delete(path).status_code == 204
    assert world.count() == (0, 0, 0)
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


class Memory:
    """Measure the peak growth of a process's memory in MiB."""

    def __init__(self, server: Server) -> None:
        self._folder = Path(f"/proc/{server.process.pid}")
        # Reset the high-water mark.
        (self._folder / "clear_refs").write_text("5")
        self._before = self.highest()

    def grown(self) -> int:
        return self.highest() - self._before

    def highest(self) -> int:
        status = (self._folder / "status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) >> 10


def blocks(number: int) -> Iterator[bytes]:
    return iter([BLOCK] * number)


def check_content(client, path: str, record_property, memory: Memory) -> None:
    """Check that a download, too, leaves the server's memory flat; then delete the dataset."""
    with client.stream("GET", path) as response:
        length = sum(len(chunk) for chunk in response.iter_bytes())
    record_property("grown_mebibytes", memory.grown())
    print(f"{MEBIBYTES} MiB: the server grew by {memory.grown()} to {memory.highest()} MiB")
    assert length == MEBIBYTES << 20
    assert memory.grown() < MAX_GROWTH
    assert client.delete(path.removesuffix("/content")).status_code == 204


def test_a_large_upload_is_never_held_in_memory(server, settings, world, record_property):
    memory = Memory(server)

    def body() -> Iterator[bytes]:
        yield HEAD
        yield from blocks(MEBIBYTES)
        yield TAIL

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with server.client() as client:
        answer = client.post("/datasets", content=body(), headers=headers, timeout=600)

        assert answer.status_code == 201, answer.text
        assert answer.json()["num_bytes"] == MEBIBYTES << 20
        path = f"/datasets/{answer.json()['id']}/content"
        check_content(client, path, record_property, memory)


def test_a_large_upload_in_parts_is_never_held_in_memory(server, settings, world, record_property):
    memory, digest = Memory(server), hashlib.sha256()
    for block in blocks(MEBIBYTES):
        digest.update(block)
    told = {"name": "x", "num_bytes": MEBIBYTES << 20, "sha256": digest.hexdigest()}
    with server.client() as client:
        path = f"/datasets/uploads/{client.post('/datasets/uploads', json=told).json()['id']}"
        for number, start in enumerate(range(0, MEBIBYTES, 64), 1):
            size = min(64, MEBIBYTES - start)
            sent = client.put(f"{path}/parts/{number}", content=blocks(size), timeout=600)
            assert sent.status_code == 200, sent.text
        answer = client.post(f"{path}/complete", timeout=600)

        assert answer.status_code == 201, answer.text
        path = f"/datasets/{answer.json()['id']}/content"
        check_content(client, path, record_property, memory)
