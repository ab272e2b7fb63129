"""File names from callers are only labels: never used as a path, a header or markup."""

import json
import re
import unicodedata
from urllib.parse import unquote

import pytest

from tests.api.names import NAMES

pytestmark = pytest.mark.slow

ROWS = b"[]"
PLAIN = r'attachment; filename="([^"\\/%\x00-\x1f\x7f-\uffff]+)"'
DISPOSITION = re.compile(PLAIN + r"; filename\*=UTF-8''([A-Za-z0-9._~%-]+)")
DEVICES = {"con", "prn", "aux", "nul", "com1", "lpt9"}


def as_filename(client, name: str):
    """Upload with the raw name in the header, as no well-behaved client would send it."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode()
    disposition = b'Content-Disposition: form-data; name="file"; filename="%s"' % quoted
    body = b"--b\r\n%s\r\n\r\n%s\r\n--b--\r\n" % (disposition, ROWS)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return client.post("/datasets", content=body, headers=headers)


def as_escaped_filename(client, name: str):
    return client.post("/datasets", files={"file": (name, ROWS)})


def as_name(client, name: str):
    part = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    parts = part % (b"name", b"", name.encode()) + part % (b"file", b'; filename="x"', ROWS)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return client.post("/datasets", content=parts + b"--b--\r\n", headers=headers)


def as_announced(client, name: str):
    digest = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
    told = {"name": name, "num_bytes": len(ROWS), "sha256": digest}
    answer = client.post("/datasets/uploads", content=json.dumps(told).encode(), headers=JSON)
    if answer.status_code != 201:
        return answer
    path = answer.headers["location"]
    client.put(f"{path}/parts/1", content=ROWS)
    return client.post(f"{path}/complete")


JSON = {"Content-Type": "application/json"}


def check_download_is_safe(client, dataset: str) -> None:
    header = client.get(f"/datasets/{dataset}/content").headers["content-disposition"]
    found = DISPOSITION.fullmatch(header)
    assert found, header
    name = unquote(found[2])
    assert not set(name) & set('/\\"')
    assert not [each for each in name if unicodedata.category(each) in ("Cc", "Zl", "Zp")]
    assert not [each for each in name if unicodedata.bidirectional(each) in BIDI]
    for shown in (found[1], name):
        assert shown.strip(". ")
        assert shown.partition(".")[0].lower() not in DEVICES


BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@pytest.mark.parametrize("send", [as_filename, as_escaped_filename, as_name, as_announced])
def test_no_file_name_is_more_than_a_label(client, world, settings, send):
    assert len(NAMES) >= 200
    before = {path.name for path in settings.data_dir.iterdir()}
    made = {}
    for name in NAMES:
        answer = send(client, name)
        assert answer.status_code in (201, 400, 422), (name, answer.text)
        if answer.status_code == 201:
            made[answer.json()["id"]] = (name, answer.json()["name"])
        else:
            assert answer.json()["code"] in ("invalid_request", "malformed_multipart"), name

    for dataset, (name, kept) in made.items():
        assert kept
        assert len(kept) <= 200
        assert "\0" not in kept
        assert send in (as_filename, as_escaped_filename) or kept == name
        check_download_is_safe(client, dataset)
    assert len(made) > 150
    # The content of every upload is stored under its own id.
    assert sorted(world.storage.keys("")) == sorted(f"datasets/{each}/upload" for each in made)
    assert {path.name for path in settings.data_dir.iterdir()} == before | {"store"}
