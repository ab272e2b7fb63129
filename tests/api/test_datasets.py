"""Datasets over HTTP: uploads can be read back unchanged, and failed ones leave nothing behind."""

import hashlib
import json

import pytest

LINES = b'{"instruction": "Say a", "output": "a"}\n{"instruction": "Say b", "output": "b"}\n'


def upload(client, content: bytes = LINES, filename: str = "rows.jsonl", headers=None, **fields):
    return client.post(
        "/datasets", files={"file": (filename, content)}, data=fields, headers=headers or {}
    )


def test_an_upload_is_stored_and_waits_to_be_validated(client, world):
    answer = upload(client, name="tone")

    assert answer.status_code == 201
    dataset = answer.json()
    assert answer.headers["location"] == f"/datasets/{dataset['id']}"
    assert dataset["status"] == "validating"
    assert (dataset["name"], dataset["format"]) == ("tone", "auto")
    assert dataset["sha256"] == hashlib.sha256(LINES).hexdigest()
    assert dataset["num_bytes"] == len(LINES)
    assert dataset["num_rows"] is None
    assert dataset["created_at"].endswith("Z")
    assert b"".join(world.storage.read(f"datasets/{dataset['id']}/upload")) == LINES
    assert client.get(answer.headers["location"]).json() == dataset


@pytest.mark.parametrize(
    "content", [b"", b"x" * 1_500_000, b"--boundary\r\n\r\n--\r\n" * 1000, bytes(range(256)) * 50]
)
def test_the_bytes_come_back_as_they_went(client, content):
    dataset_id = upload(client, content).json()["id"]

    assert client.get(f"/datasets/{dataset_id}/content").content == content


def test_fields_may_come_after_the_file(client):
    boundary = "b"
    parts = [
        'Content-Disposition: form-data; name="file"; filename="a.json"\r\n\r\n[]',
        'Content-Disposition: form-data; name="name"\r\n\r\nlate',
        'Content-Disposition: form-data; name="format"\r\n\r\njson',
    ]
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"

    answer = client.post(
        "/datasets",
        content=body,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )

    assert answer.status_code == 201, answer.text
    assert (answer.json()["name"], answer.json()["format"]) == ("late", "json")


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\rows.json", "rows.json"),
        ("ü 文.jsonl", "ü 文.jsonl"),
        ("..", ".."),
        ("/", "dataset"),
    ],
)
def test_a_file_name_is_a_label_and_never_a_path(client, world, filename, name):
    answer = upload(client, filename=filename)

    assert answer.status_code == 201, answer.text
    assert answer.json()["name"] == name
    assert [key.split("/")[0] for key in world.storage.keys("")] == ["datasets"]


@pytest.mark.parametrize(
    ("fields", "files", "pointer", "code"),
    [
        ({}, {"fil": ("a", b"[]")}, "/fil", "unknown_field"),
        ({"nam": "x"}, {"file": ("a", b"[]")}, "/nam", "unknown_field"),
        ({"format": "xlsx"}, {"file": ("a", b"[]")}, "/format", "not_allowed"),
        ({"name": ""}, {"file": ("a", b"[]")}, "/name", "wrong_length"),
        ({"name": "x" * 201}, {"file": ("a", b"[]")}, "/name", "wrong_length"),
        ({"name": "x" * 2000}, {"file": ("a", b"[]")}, "/name", "wrong_length"),
        ({"name": b"\xff"}, {"file": ("a", b"[]")}, "/name", "wrong_format"),
        ({"num_bytes": "-1"}, {"file": ("a", b"[]")}, "/num_bytes", "wrong_format"),
        ({"num_bytes": ""}, {"file": ("a", b"[]")}, "/num_bytes", "wrong_format"),
        ({"sha256": "z" * 64}, {"file": ("a", b"[]")}, "/sha256", "wrong_format"),
        ({"sha256": b"\xff" * 64}, {"file": ("a", b"[]")}, "/sha256", "wrong_format"),
    ],
)
def test_a_wrong_form_is_refused_and_leaves_nothing(client, world, fields, files, pointer, code):
    answer = client.post("/datasets", data=fields, files=files)

    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["errors"]] == [(pointer, code)]
    assert list(world.storage.keys("datasets/")) == []
    assert world.count() == (0, 0, 0)


@pytest.mark.parametrize(
    "body_of",
    [lambda file, fields: [*fields, file], lambda file, fields: [file, *fields]],
    ids=["before", "after"],
)
@pytest.mark.parametrize(
    ("num_bytes", "sha256", "named"),
    [
        (str(len(LINES)), hashlib.sha256(LINES).hexdigest(), ()),
        (str(len(LINES)), hashlib.sha256(LINES).hexdigest().upper(), ()),
        (str(len(LINES) + 1), hashlib.sha256(LINES).hexdigest(), (len(LINES) + 1, len(LINES))),
        (str(len(LINES)), "0" * 64, ("0" * 64, hashlib.sha256(LINES).hexdigest())),
    ],
)
def test_bytes_other_than_promised_are_refused_whole(
    client, world, body_of, num_bytes, sha256, named
):
    file = ("file", ("rows.jsonl", LINES))
    fields = [("num_bytes", (None, num_bytes)), ("sha256", (None, sha256))]

    answer = client.post("/datasets", files=body_of(file, fields))

    if not named:
        assert answer.status_code == 201, answer.text
        return
    assert (answer.status_code, answer.json()["code"]) == (422, "upload_mismatch")
    assert all(str(each) in answer.json()["detail"] for each in named)
    assert list(world.storage.keys("datasets/")) == []
    assert world.count() == (0, 0, 0)


def test_a_form_without_a_file_is_refused(client):
    body = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}

    answer = client.post("/datasets", content=body, headers=headers)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/file"
    assert answer.json()["errors"][0]["code"] == "missing"


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{}", "application/json", 415, "unsupported_media_type"),
        (b"x", "multipart/form-data", 415, "unsupported_media_type"),
        (b"nothing", "multipart/form-data; boundary=b", 400, "malformed_multipart"),
        (b"--b\r\nbroken", "multipart/form-data; boundary=b", 400, "malformed_multipart"),
    ],
)
def test_what_is_no_form_is_told_so(client, world, body, kind, status, code):
    answer = client.post("/datasets", content=body, headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert list(world.storage.keys("datasets/")) == []


def test_a_form_without_its_boundary_is_told_what_is_missing(client):
    headers = {"Content-Type": "multipart/form-data"}

    answer = client.post("/datasets", content=b"x", headers=headers)

    assert "has no boundary" in answer.json()["detail"]


def test_an_upload_cut_off_leaves_nothing(client, world):
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 99

    answer = client.post(
        "/datasets", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed_multipart"
    assert list(world.storage.keys("datasets/")) == []
    assert world.count() == (0, 0, 0)


def test_one_byte_over_the_limit_is_too_large_and_leaves_nothing(client, world, settings):
    limit = settings.max_upload_bytes

    assert upload(client, b"x" * limit).status_code == 201
    kept = list(world.storage.keys("datasets/"))
    over = upload(client, b"x" * (limit + 1))
    far_over = upload(client, b"x" * (2 * limit))

    for answer in (over, far_over):
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "too_large"
    assert list(world.storage.keys("datasets/")) == kept


def test_the_list_is_newest_first_in_pages(client):
    ids = [upload(client).json()["id"] for _ in range(5)][::-1]

    first = client.get("/datasets?limit=3").json()
    rest = client.get(f"/datasets?limit=3&after={first['data'][-1]['id']}").json()

    assert [one["id"] for one in first["data"] + rest["data"]] == ids
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_a_foreign_dataset_is_not_there(client, world):
    foreign = world.dataset(project=world.project())

    for path in ("", "/report", "/rows", "/content"):
        answer = client.get(f"/datasets/{foreign}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")
    assert client.delete(f"/datasets/{foreign}").status_code == 404
    assert client.get("/datasets").json()["data"] == []
    cursor = client.get(f"/datasets?after={foreign}")
    assert (cursor.status_code, cursor.json()["code"]) == (400, "invalid_cursor")


def test_the_report_comes_when_it_is_there(client, world):
    waiting = client.get(f"/datasets/{world.dataset('validating')}/report")
    judged = client.get(f"/datasets/{world.dataset('invalid')}/report")

    assert (waiting.status_code, waiting.json()["code"]) == (409, "dataset_validating")
    assert waiting.headers["retry-after"] == "1"
    assert waiting.json()["current"] == "validating"
    assert judged.status_code == 200
    assert judged.json()["problems"][0]["code"] == "missing_output"


@pytest.mark.parametrize(
    ("offset", "limit", "expected", "has_more"),
    [(0, 2, [0, 1], True), (23, 5, [23, 24], False), (25, 1, [], False), (99, 100, [], False)],
)
def test_rows_are_read_by_offset(client, world, offset, limit, expected, has_more):
    answer = client.get(f"/datasets/{world.dataset()}/rows?offset={offset}&limit={limit}").json()

    assert [row["output"] for row in answer["data"]] == [str(number) for number in expected]
    assert (answer["num_rows"], answer["has_more"]) == (25, has_more)


@pytest.mark.parametrize("query", ["limit=101", "limit=0", "offset=-1", "limit=x"])
def test_rows_have_limits(client, world, query):
    answer = client.get(f"/datasets/{world.dataset()}/rows?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"?{query.split('=')[0]}"


def test_a_deleted_dataset_is_gone_with_its_bytes(client, world):
    dataset_id = upload(client).json()["id"]

    assert client.delete(f"/datasets/{dataset_id}").status_code == 204
    assert client.get(f"/datasets/{dataset_id}").status_code == 404
    assert client.delete(f"/datasets/{dataset_id}").status_code == 404
    assert client.get("/datasets").json()["data"] == []
    assert list(world.storage.keys(f"datasets/{dataset_id}/")) == []


@pytest.mark.parametrize("use", ["dataset", "validation"])
def test_a_dataset_lives_as_long_as_a_job_needs_it(client, world, use):
    dataset_id, other = world.dataset(), world.dataset()
    spec = {"model": "tiny", "dataset": dataset_id}
    if use == "validation":
        spec = {"model": "tiny", "dataset": other, "validation": {"dataset": dataset_id}}
    job_id = client.post("/jobs", json=spec).json()["id"]

    refused = client.delete(f"/datasets/{dataset_id}")
    client.post(f"/jobs/{job_id}/cancel")
    deleted = client.delete(f"/datasets/{dataset_id}")

    assert (refused.status_code, refused.json()["code"]) == (409, "dataset_in_use")
    assert refused.json()["job"] == job_id
    assert deleted.status_code == 204
    job = client.get(f"/jobs/{job_id}").json()
    assert dataset_id in json.dumps(job)
    again = client.post("/jobs", json=spec)
    assert again.json()["code"] == "dataset_unknown"


def test_a_dataset_whose_validation_broke_off_has_no_report(client, world):
    dataset_id = world.dataset("invalid", num_rows=0, num_valid_rows=0)
    world.storage.delete_all(f"datasets/{dataset_id}/")

    answer = client.get(f"/datasets/{dataset_id}/report")

    assert (answer.status_code, answer.json()["code"]) == (404, "report_missing")
    assert client.get(f"/datasets/{dataset_id}/rows").json()["data"] == []
