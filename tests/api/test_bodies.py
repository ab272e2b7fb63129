"""Request bodies that cannot be parsed, are too large, or have another content type."""

import pytest


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_request"),
        (b"{", 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b"[" * 5000, 400, "malformed_json"),
        (b"[" * 65 + b"]" * 65, 400, "malformed_json"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, 400, "malformed_json"),
        (b'{"model": "a", "model": "b"}', 400, "malformed_json"),
        (b"1" * 5000, 400, "malformed_json"),
        (b'{"name": "\\ud800"}', 422, "invalid_request"),
        (b'{"na\\u0000me": 1}', 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b'"x"', 422, "invalid_request"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_body_that_cannot_be_read_is_told_why(client, world, body, status, code):
    answer = client.post("/jobs", content=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert world.count() == (0, 0, 0)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_that_does_not_call_itself_json_is_415(client, kind):
    headers = {"Content-Type": kind} if kind else {}
    answer = client.post("/jobs", content=b'{"model": "tiny"}', headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert "application/json" in answer.json()["detail"]


def test_a_body_over_the_limit_is_413_chunked_or_not(client, settings):
    limit = settings.max_body_bytes
    json_type = {"Content-Type": "application/json"}
    fits = b" " * (limit - 2) + b"{}"

    assert client.post("/jobs", content=fits, headers=json_type).status_code == 422
    for body in (fits + b" ", iter([fits, b" "])):
        answer = client.post("/jobs", content=body, headers=json_type)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("value", ["true", "1", "yes"])
def test_a_dry_run_creates_nothing(client, world, value):
    spec = {"model": "tiny", "dataset": world.dataset()}

    answer = client.post(f"/jobs?dry_run={value}", json=spec)

    # The base model of these tests is a dummy: a job would fail when it loads the tokenizer.
    assert (answer.status_code, answer.json()["code"]) == (422, "model_invalid")
    assert world.count()[0] == 0
