"""The adapter archive: readable by any unzip, and byte for byte the same every time."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import archive

CONTENT = {"adapter_config.json": b'{"r": 16}', "adapter_model.safetensors": bytes(range(256)) * 99}


def files_of(content: dict[str, bytes]) -> list[archive.File]:
    return [
        {
            "path": path,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "kind": "adapter",
        }
        for path, data in content.items()
    ]


@pytest.mark.parametrize("is_wide", [False, True])
def test_what_goes_in_comes_out_in_both_forms(is_wide, tmp_path: Path):
    files = files_of(CONTENT)

    made = b"".join(archive._chunks(files, lambda path: iter([CONTENT[path]]), is_wide=is_wide))

    with zipfile.ZipFile(io.BytesIO(made)) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == CONTENT
        assert opened.namelist() == list(CONTENT)
    assert len(made) == archive._size(files, is_wide=is_wide)


@pytest.mark.slow
@given(st.dictionaries(st.text(min_size=1, max_size=20), st.binary(max_size=200), max_size=5))
def test_the_size_is_known_beforehand_and_the_bytes_never_differ(content):
    content = {name.replace("\x00", "_"): data for name, data in content.items() if is_utf8(name)}
    files = files_of(content)

    first = b"".join(archive.zip_chunks(files, lambda path: iter([content[path]])))
    again = b"".join(archive.zip_chunks(files, lambda path: iter([content[path]])))

    assert first == again
    assert len(first) == archive.zip_size(files)
    with zipfile.ZipFile(io.BytesIO(first)) as opened:
        assert opened.testzip() is None
        assert [info.orig_filename for info in opened.infolist()] == list(content)


def is_utf8(name: str) -> bool:
    return name.isprintable() and "\\" not in name


def test_a_file_shorter_than_its_manifest_is_refused():
    files = files_of(CONTENT)

    with pytest.raises(ValueError, match=r"adapter_config\.json has 0 bytes"):
        list(archive.zip_chunks(files, lambda path: iter([])))


def test_files_past_four_gigabytes_take_the_zip64_form():
    assert archive._needs_zip64([{"path": "a", "bytes": 1 << 32, "sha256": "", "kind": "adapter"}])
    assert not archive._needs_zip64(files_of(CONTENT))


def test_a_file_read_in_many_chunks_is_as_good_as_in_one():
    files = files_of(CONTENT)

    def pieces(path: str) -> Iterator[bytes]:
        data = CONTENT[path]
        yield from (data[at : at + 1000] for at in range(0, len(data), 1000))

    made = b"".join(archive.zip_chunks(files, pieces))

    assert made == b"".join(archive.zip_chunks(files, lambda path: iter([CONTENT[path]])))
    with zipfile.ZipFile(io.BytesIO(made)) as opened:
        assert opened.testzip() is None


def test_a_file_longer_than_its_manifest_is_refused():
    with pytest.raises(ValueError, match=r"adapter_config\.json has 10 bytes, not 9"):
        list(archive.zip_chunks(files_of(CONTENT), lambda path: iter([CONTENT[path], b"x"])))


def test_zip64_begins_where_the_plain_form_ends():
    """At numbers that the plain form takes for "see the zip64 record"."""
    empty: archive.File = {"path": "a", "bytes": 0, "sha256": "", "kind": "adapter"}
    room = 0xFFFFFFFF - archive._size([empty], is_wide=False)

    assert not archive._needs_zip64([empty] * 0xFFFE)
    assert archive._needs_zip64([empty] * 0xFFFF)
    assert not archive._needs_zip64([{**empty, "bytes": room - 1}])
    assert archive._needs_zip64([{**empty, "bytes": room}])
