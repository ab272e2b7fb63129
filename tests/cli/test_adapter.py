"""An unpacked adapter contains exactly the files of its manifest."""

import hashlib
import json
import zipfile

import pytest

from app.cli.adapter import ManifestMismatch, unpack


def pack(folder, files, promised=None):
    promised = files if promised is None else promised
    listed = [
        {"path": path, "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in promised.items()
    ]
    archive = folder / "adapter.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path, content in files.items():
            zipped.writestr(path, content)
        zipped.writestr("manifest.json", json.dumps({"files": listed}))
    return archive


def test_every_file_is_proven(tmp_path):
    archive = pack(tmp_path, {"adapter_config.json": b"{}", "deep/weights": b"123"})

    assert unpack(archive, tmp_path / "out") == 2
    assert (tmp_path / "out/deep/weights").read_bytes() == b"123"


@pytest.mark.parametrize(
    ("files", "promised", "named"),
    [
        ({"a": b"1"}, {"a": b"2"}, "a"),
        ({"a": b"1"}, {"a": b"1", "b": b"2"}, "b"),
        ({"a": b"1", "extra": b"2"}, {"a": b"1"}, "extra"),
    ],
)
def test_a_file_changed_missing_or_unlisted_is_named(tmp_path, files, promised, named):
    archive = pack(tmp_path, files, promised)

    with pytest.raises(ManifestMismatch, match=f"in: {named}"):
        unpack(archive, tmp_path / "out")
