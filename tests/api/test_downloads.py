"""Downloads: whole, by range, 304 for a known ETag, and never outside the manifest."""

import hashlib
import io
import zipfile

import pytest

from app.api.answers.downloads import disposition
from app.core.jobs.status import JobStatus


@pytest.fixture
def done(client, world):
    """A succeeded job and its files."""
    spec = {"model": "tiny", "dataset": world.dataset()}
    job_id = client.post("/jobs", json=spec).json()["id"]
    return job_id, world.succeed(world.claim())


def test_the_manifest_names_every_file(client, done):
    job_id, content = done

    manifest = client.get(f"/jobs/{job_id}/artifacts").json()

    assert [(one["path"], one["bytes"], one["sha256"]) for one in manifest["files"]] == [
        (path, len(data), hashlib.sha256(data).hexdigest())
        for path, data in content.items()
        if path != "adapter.zip"
    ]
    job = client.get(f"/jobs/{job_id}").json()
    assert job["artifacts"] == {
        "adapter_bytes": manifest["adapter"]["bytes"],
        "adapter_sha256": manifest["adapter"]["sha256"],
        "step": None,
        "chosen": None,
    }


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"step": 4, "chosen": "best", "stopped_by": "early_stopping"}, (4, "best")),
        ({"step": 9, "chosen": "last", "stopped_by": "deadline"}, (9, "last")),
        ({"step": 9, "chosen": "last", "stopped_by": None}, (9, "last")),
        ({}, (None, None)),
    ],
)
def test_a_job_says_which_step_was_published_and_what_stopped_it(client, world, about, told):
    spec = {"model": "tiny", "dataset": world.dataset()}
    job_id = client.post("/jobs", json=spec).json()["id"]
    world.succeed(world.claim(), **about)

    job = client.get(f"/jobs/{job_id}").json()

    assert (job["artifacts"]["step"], job["artifacts"]["chosen"]) == told
    assert job["stopped_by"] == about.get("stopped_by")


def test_each_file_comes_whole_with_its_hash(client, done):
    job_id, content = done
    for path in ("adapter_config.json", "adapter_model.safetensors", "README.md"):
        answer = client.get(f"/jobs/{job_id}/artifacts/{path}")

        assert answer.content == content[path]
        assert answer.headers["content-length"] == str(len(content[path]))
        assert answer.headers["etag"] == f'"{hashlib.sha256(content[path]).hexdigest()}"'
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["content-disposition"].startswith(f'attachment; filename="{path}"')
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_adapter_is_one_zip(client, done):
    job_id, content = done

    answer = client.get(f"/jobs/{job_id}/adapter")

    assert answer.headers["content-type"] == "application/zip"
    assert answer.content == content["adapter.zip"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as opened:
        assert opened.testzip() is None
        assert opened.read("adapter_config.json") == content["adapter_config.json"]


@pytest.mark.parametrize("path", ["adapter", "artifacts/adapter_config.json"])
def test_head_tells_the_same_without_the_bytes(client, done, path):
    whole = client.get(f"/jobs/{done[0]}/{path}")
    head = client.head(f"/jobs/{done[0]}/{path}")

    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "etag", "content-type", "content-disposition"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, None),
        ("bytes=-10", -10, None),
        ("bytes=10-999999999", 10, None),
        ("bytes=-999999999", 0, None),
        ("Bytes= 5-6", 5, 7),
        ("bytes=255999-255999", 255999, None),
    ],
)
def test_a_range_is_answered_with_that_part(client, done, wanted, start, end):
    job_id, content = done
    data = content["adapter_model.safetensors"]
    path = f"/jobs/{job_id}/artifacts/adapter_model.safetensors"

    answer = client.get(path, headers={"Range": wanted})

    expected = data[start:end]
    first = data.index(expected) if start >= 0 else len(data) + start
    first = start if start >= 0 else first
    assert answer.status_code == 206
    assert answer.content == expected
    assert answer.headers["content-length"] == str(len(expected))
    span = f"bytes {first}-{first + len(expected) - 1}/{len(data)}"
    assert answer.headers["content-range"] == span


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-1,5-6", "bytes=5-1", "bytes=-", "bytes=", "lines=0-1", "bytes=x-1", "bytes=0-1;"],
)
def test_a_range_we_do_not_take_gets_the_whole(client, done, wanted):
    job_id, content = done

    answer = client.get(f"/jobs/{job_id}/adapter", headers={"Range": wanted})

    assert (answer.status_code, answer.content) == (200, content["adapter.zip"])


@pytest.mark.parametrize("wanted", ["bytes=999999999-", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_a_range_past_the_end_is_416(client, done, wanted):
    job_id, content = done

    answer = client.get(f"/jobs/{job_id}/adapter", headers={"Range": wanted})

    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(content['adapter.zip'])}"


def test_a_thousand_ranges_cost_one_file(client, done):
    many = "bytes=" + ",".join(f"{n}-{n}" for n in range(1000))

    assert client.get(f"/jobs/{done[0]}/adapter", headers={"Range": many}).status_code == 200


def test_a_range_is_only_of_the_file_that_was_begun(client, done):
    path = f"/jobs/{done[0]}/adapter"
    etag = client.head(path).headers["etag"]

    same = client.get(path, headers={"Range": "bytes=0-9", "If-Range": etag})
    other = client.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    weak = client.get(path, headers={"Range": "bytes=0-9", "If-Range": f"W/{etag}"})

    assert [answer.status_code for answer in (same, other, weak)] == [206, 200, 200]


def test_what_is_known_is_not_sent_again(client, done):
    path = f"/jobs/{done[0]}/adapter"
    etag = client.head(path).headers["etag"]

    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = client.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "nope",
        "adapter.zip",
        "manifest.json",
        "%2e%2e/%2e%2e/%2e%2e/datasets",
        "..%2f..%2fdatasets",
        "%2e%2e/%2e%2e/x",
        "/etc/passwd",
        "adapter_config.json/",
        "%2e/adapter_config.json",
        "ADAPTER_CONFIG.JSON",
        "a" * 3000,
        "CON",
    ],
)
def test_a_path_outside_the_manifest_leads_nowhere(client, done, path):
    answer = client.get(f"/jobs/{done[0]}/artifacts/{path}")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_job_without_an_adapter_says_so(client, world):
    spec = {"model": "tiny", "dataset": world.dataset()}
    job_id = client.post("/jobs", json=spec).json()["id"]
    paths = ("artifacts", "adapter", "artifacts/adapter_config.json")

    waiting = [client.get(f"/jobs/{job_id}/{path}") for path in paths]
    world.finish(world.claim(), JobStatus.FAILED)
    failed = [client.get(f"/jobs/{job_id}/{path}") for path in paths]

    for answer in waiting + failed:
        assert (answer.status_code, answer.json()["code"]) == (409, "no_artifacts")
    assert {answer.json()["current"] for answer in waiting} == {"queued"}
    assert {answer.json()["current"] for answer in failed} == {"failed"}


def test_bytes_that_are_gone_are_told_before_the_first_byte(client, world, done):
    world.storage.delete_all(f"artifacts/{done[0]}/")

    answer = client.get(f"/jobs/{done[0]}/adapter")

    assert (answer.status_code, answer.json()["code"]) == (404, "content_missing")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("rows.jsonl", "rows.jsonl"),
        ('a"b\r\nX: y', "a_b__X: y"),
        ("../../x", "_.._x"),
        ("ü.json", "_.json"),
        ("...", "download"),
        ("\x00", "_"),
    ],
)
def test_a_download_name_is_safe_in_a_header(name, plain):
    assert disposition(name).startswith(f'attachment; filename="{plain}"; filename*=')
    assert disposition(name).isascii()
    assert disposition(name).isprintable()
