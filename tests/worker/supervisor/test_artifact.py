"""An artifact is published as it was reported, byte for byte, or not at all."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.store_keys import MANIFEST
from worker.supervisor.artifact import BadArtifact, verify
from worker.supervisor.report_reader import ArtifactFile

HEADER = b'{"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}'
CONTENT = {
    "README.md": b"# hello",
    "adapter_config.json": b'{"r": 16}',
    "adapter_model.safetensors": len(HEADER).to_bytes(8, "little") + HEADER + b"abcd",
}


def described(path: Path) -> ArtifactFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return ArtifactFile(path=path.name, bytes=len(content), sha256=digest)


def write_manifest(folder: Path, files: list[ArtifactFile]) -> None:
    listed = [file.model_dump() for file in files]
    (folder / MANIFEST).write_text(json.dumps({"files": listed}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def reported(folder: Path) -> list[ArtifactFile]:
    files = [described(folder / name) for name in CONTENT]
    write_manifest(folder, files)
    return files


def test_what_was_reported_is_taken_with_the_manifest_last(
    folder: Path, reported: list[ArtifactFile]
) -> None:
    taken = verify(folder, reported)

    assert [file["path"] for file in taken] == [*sorted(CONTENT), MANIFEST]
    assert [file["sha256"] for file in taken[:-1]] == [file.sha256 for file in reported]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def join(path: Path) -> None:
    path.with_name("another").write_bytes(b"")


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("harm", [flip, cut, Path.unlink, join])
def test_a_file_that_is_not_as_reported_is_no_artifact(
    folder: Path, reported: list[ArtifactFile], name: str, harm: Callable[[Path], None]
) -> None:
    harm(folder / name)

    with pytest.raises(BadArtifact):
        verify(folder, reported)


def test_a_manifest_that_says_something_else_is_no_manifest(
    folder: Path, reported: list[ArtifactFile]
) -> None:
    write_manifest(folder, [file.model_copy(update={"sha256": "0" * 64}) for file in reported])

    with pytest.raises(BadArtifact, match="manifest"):
        verify(folder, reported)


def test_a_link_is_no_file_of_an_artifact(folder: Path, reported: list[ArtifactFile]) -> None:
    """Not even to another file of the same artifact."""
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("adapter_config.json")
    files = [described(folder / name) for name in CONTENT]
    write_manifest(folder, files)

    with pytest.raises(BadArtifact, match=r"README\.md"):
        verify(folder, files)


def test_weights_that_are_none_are_no_artifact(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"\xff" * 100)
    files = [described(folder / name) for name in CONTENT]
    write_manifest(folder, files)

    with pytest.raises(BadArtifact, match="safetensors"):
        verify(folder, files)
