"""A full storage: uploads get 507 and leave nothing behind, and other requests are unaffected."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.storage import StorageFull, open_storage
from tests.api.server import Server

pytestmark = pytest.mark.slow

MEBIBYTE = 1 << 20
ROOM = 12


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 12 MiB."""
    folder = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small file system, and not in every container")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def server(api_settings, disk: Path, tmp_path_factory) -> Iterator[Server]:
    changes = {"storage_url": disk.as_uri(), "max_upload_bytes": 100 * MEBIBYTE}
    server = Server(
        api_settings.model_copy(update=changes), tmp_path_factory.mktemp("server") / "log"
    )
    yield server
    server.stop()


@pytest.fixture
def client(server, settings, disk) -> Iterator:
    with server.client() as client:
        yield client
    for path in files(disk):
        path.unlink()


def files(disk: Path) -> list[Path]:
    return [path for path in disk.rglob("*") if path.is_file()]


def upload(client, mebibytes: int):
    content = b"x" * (mebibytes * MEBIBYTE)
    return client.post("/datasets", files={"file": ("rows", content)})


def check_told(answer) -> None:
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert "Delete datasets" in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("mebibytes", [13, 20, 60])
def test_an_upload_that_finds_no_room_is_told_and_leaves_nothing(
    client, server, disk, world, mebibytes
):
    check_told(upload(client, mebibytes))

    assert files(disk) == []
    assert world.count() == (0, 0, 0)
    assert upload(client, 3).status_code == 201
    assert world.count() == (0, 0, 1)
    assert "Traceback" not in server.log


def test_a_part_that_finds_no_room_leaves_those_before_it(client, disk):
    told = {"name": "x", "num_bytes": 16 * MEBIBYTE, "sha256": "0" * 64}
    path = f"/datasets/uploads/{client.post('/datasets/uploads', json=told).json()['id']}"

    def send(number: int):
        return client.put(f"{path}/parts/{number}", content=b"x" * (8 * MEBIBYTE))

    assert send(1).status_code == 200
    before = files(disk)
    check_told(send(2))

    assert files(disk) == before
    assert [part["number"] for part in client.get(path).json()["parts"]] == [1]
    assert client.delete(path).status_code == 204
    assert files(disk) == []


def test_parts_that_cannot_be_put_together_stay(client, disk, world):
    told = {"name": "x", "num_bytes": 8 * MEBIBYTE, "sha256": "0" * 64}
    path = f"/datasets/uploads/{client.post('/datasets/uploads', json=told).json()['id']}"
    client.put(f"{path}/parts/1", content=b"x" * (8 * MEBIBYTE))
    before = files(disk)

    check_told(client.post(f"{path}/complete"))

    assert files(disk) == before
    assert world.count() == (0, 0, 0)


def test_who_writes_the_store_gets_an_error_of_the_operating_system(disk, api_settings):
    storage = open_storage(api_settings.model_copy(update={"storage_url": disk.as_uri()}))

    with pytest.raises(StorageFull) as full:
        storage.write("a", (b"x" * MEBIBYTE for _ in range(ROOM + 1)))

    assert full.value.errno == 28
    assert files(disk) == []
