"""The front page and the readable contract."""

import re

import pytest

from app.api.answers.contract_page import contract_page, prose
from app.api.answers.html import POLICY


def test_a_person_gets_a_page_and_a_program_the_same_links(client):
    seen = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    read = client.get("/")

    assert seen.headers["content-type"].startswith("text/html")
    assert read.json()["name"] == "Tunesmith"
    for link in read.json()["links"].values():
        assert f"href='{link}'" in seen.text
        assert client.get(link).status_code == 200


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_can_only_be_read(client, method, path):
    refused = client.request(method, path)

    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET"


def test_the_contract_is_readable_without_any_other_server(client):
    answer = client.get("/docs")
    contract = client.get("/openapi.json").json()

    assert answer.headers["content-security-policy"] == POLICY
    assert not re.findall(r"<script|<link|<img|src=|https?://", answer.text)
    for path, operations in contract["paths"].items():
        for method, operation in operations.items():
            assert (
                f"<h3 id='{operation['operationId']}'>{method.upper()} {path}</h3>" in answer.text
            )
    for name in contract["components"]["schemas"]:
        assert f"<h3 id='{name}'>" in answer.text


def test_every_link_of_the_contract_leads_somewhere(client):
    text = client.get("/docs").text
    targets = set(re.findall(r"id='([^']+)'", text))

    assert set(re.findall(r"href='#([^']+)'", text)) <= targets


def test_a_field_of_the_spec_is_shown_with_default_unit_and_range(client):
    text = client.get("/docs").text
    section = text.partition("<h3 id='TrainingSpec'>")[2].partition("<h3 ")[0]
    row = next(part for part in section.split("<tr>") if "<code>max_length</code>" in part)

    for part in ("&gt;= 8", "&lt;= 1048576", "default <code>1024</code>", "unit: tokens"):
        assert part in row


def test_what_a_contract_says_cannot_become_markup():
    assert prose("`<b>` & <i>") == "<code>&lt;b&gt;</code> &amp; &lt;i&gt;"
    empty = {"info": {"title": "<T>", "version": "1", "description": "d"}, "paths": {}}

    assert "<T>" not in contract_page({**empty, "components": {"schemas": {}}})
