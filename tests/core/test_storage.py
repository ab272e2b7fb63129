"""One key layout on a local folder and on S3 (moto's server)."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from app.core.settings import Settings
from app.core.storage import Storage, open_storage
from tests.worker.bench import Bench

BUCKET = "tunesmith-test"


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    import urllib.request

    request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()
    yield url
    server.stop()


@pytest.fixture
def s3_settings(settings: Settings, s3_url: str) -> Settings:
    return settings.model_copy(
        update={
            "storage_url": f"s3://{BUCKET}/{token_hex(4)}/prefix",
            "s3_endpoint": s3_url,
            "s3_access_key_id": SecretStr("id"),
            "s3_secret_access_key": SecretStr("secret"),
        }
    )


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, settings: Settings) -> Storage:
    if request.param == "folder":
        return open_storage(settings)
    s3_settings: Settings = request.getfixturevalue("s3_settings")
    return open_storage(s3_settings)


def test_what_is_written_is_read_whole_or_in_part(storage: Storage, tmp_path: Path) -> None:
    content = os.urandom(9 << 20)  # more than one part of an upload
    source = tmp_path / "source"
    source.write_bytes(content)

    storage.write_file("artifacts/job_1/1/big", source)

    assert storage.size("artifacts/job_1/1/big") == len(content)
    assert b"".join(storage.read("artifacts/job_1/1/big")) == content
    assert b"".join(storage.read("artifacts/job_1/1/big", 5, 3 << 20)) == content[5 : 3 << 20]
    digest = storage.read_file("artifacts/job_1/1/big", tmp_path / "copy")
    assert digest == hashlib.sha256(content).hexdigest()


def test_keys_are_listed_and_deleted_by_prefix(storage: Storage) -> None:
    for key in ("artifacts/a/1/x", "artifacts/a/1/y", "artifacts/a/11/x"):
        storage.write(key, [b"1"])

    storage.delete_all("artifacts/a/1/")

    assert list(storage.keys("artifacts/a/")) == ["artifacts/a/11/x"]
    assert not storage.exists("artifacts/a/1/x")
    with pytest.raises(FileNotFoundError):
        list(storage.read("artifacts/a/1/x"))
    storage.delete_all("artifacts/a/")


def test_what_fails_half_way_is_not_there(storage: Storage) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * (9 << 20)
        raise ValueError("the reader failed")

    with pytest.raises(Exception, match="the reader failed"):
        storage.write("artifacts/a/2/x", broken())

    assert not storage.exists("artifacts/a/2/x")


def test_a_store_of_another_kind_is_refused(settings: Settings) -> None:
    with pytest.raises(ValueError, match="ftp"):
        open_storage(settings.model_copy(update={"storage_url": "ftp://host/x"}))


def test_an_adapter_is_published_to_s3(bench: Bench, s3_settings: Settings) -> None:
    bench.settings = bench.settings.model_copy(
        update={"storage_url": s3_settings.storage_url, "s3_endpoint": s3_settings.s3_endpoint,
                "s3_access_key_id": s3_settings.s3_access_key_id,
                "s3_secret_access_key": s3_settings.s3_secret_access_key}
    )  # fmt: skip
    bench.storage = open_storage(bench.settings)
    job_id = bench.submit("steps=2")

    bench.work()

    from tests.faults import invariants

    assert bench.job(job_id).status == "succeeded"
    assert "hello from the trainer" in bench.log(job_id, 1)
    invariants.check(bench.settings, bench.sessions, [job_id])
