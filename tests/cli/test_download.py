"""A download is complete and verified, however often the connection breaks."""

import os

import pytest

from app.cli import client
from app.cli.client import Refused, Unreachable
from app.cli.download import Corrupt, OutputUnusable, download_adapter, target_of

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def server(site):
    with client.connect(site.url) as server:
        yield server


def test_a_file_arrives_under_its_name_with_its_hash(site, server, tmp_path):
    sha256 = site.serve(CONTENT)
    target = tmp_path / "adapter.zip"

    assert download_adapter(server, "job_1", target) == sha256
    assert target.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [target]


def test_a_broken_download_goes_on_where_it_broke_off(site, server, tmp_path):
    site.serve(CONTENT)
    site.cuts = [1_000_000, 500_000]

    download_adapter(server, "job_1", tmp_path / "a.zip")

    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_later_command_goes_on_where_an_earlier_one_gave_up(site, server, tmp_path):
    site.serve(CONTENT)
    site.cuts = [2_000_000]
    with pytest.raises(Unreachable):
        download_adapter(server, "job_1", tmp_path / "a.zip", tries=1)
    assert not (tmp_path / "a.zip").exists()

    download_adapter(server, "job_1", tmp_path / "a.zip")

    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert site.ranges[1] == "bytes=2000000-"


def test_a_file_that_changed_meanwhile_is_fetched_anew(site, server, tmp_path):
    site.serve(b"old" * 1000)
    site.cuts = [100]
    part, tag = tmp_path / ".a.zip.part", tmp_path / ".a.zip.etag"
    part.write_bytes(b"old" * 30)
    tag.write_text("0" * 64)
    sha256 = site.serve(CONTENT)
    site.cuts = []

    assert download_adapter(server, "job_1", tmp_path / "a.zip") == sha256


def test_a_file_that_is_not_what_was_promised_is_not_kept(site, server, tmp_path):
    site.serve(CONTENT)
    site.content = CONTENT[:-1] + b"?"

    with pytest.raises(Corrupt, match="announced"):
        download_adapter(server, "job_1", tmp_path / "a.zip")

    assert list(tmp_path.iterdir()) == []


def test_a_job_without_an_adapter_is_told_as_the_server_tells_it(site, server, tmp_path):
    site.answer("/jobs/job_1/artifacts", {"title": "Not found", "detail": "No."}, status=404)

    with pytest.raises(Refused, match="No"):
        server.get("/jobs/job_1/artifacts")


def test_a_folder_gets_the_archive_under_the_jobs_name(tmp_path):
    assert target_of(tmp_path, "job_1") == tmp_path / "job_1.zip"
    assert target_of(tmp_path / "a.zip", "job_1") == tmp_path / "a.zip"
    (tmp_path / "job_1.zip").mkdir()

    with pytest.raises(OutputUnusable, match="is not a file"):
        target_of(tmp_path, "job_1")
