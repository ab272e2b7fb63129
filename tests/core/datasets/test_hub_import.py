"""Resolving and fetching a dataset with the real hub client, from a local stand-in."""

import socket
import time

import pytest
from pydantic import SecretStr

from app.core.datasets.hub import (
    HubFileWrong,
    HubUnavailable,
    Source,
    SplitRequest,
    fetch,
    resolve,
)
from app.core.datasets.hub_files import HubRefused
from app.core.errors import TooLarge
from app.core.settings import Settings
from tests.core.datasets.hub import FIRST, ROWS, SECOND, DatasetHub
from tests.core.models.standins import serve

ALPACA = SplitRequest("team/alpaca")


@pytest.fixture
def hub():
    with serve(DatasetHub()) as server:
        yield server


@pytest.fixture
def settings(hub, tmp_path) -> Settings:
    return Settings(data_dir=tmp_path / "data", hub_endpoint=hub.url)


def refusal(settings, wanted):
    with pytest.raises(HubRefused) as refused:
        resolve(settings, wanted)
    [problem] = refused.value.errors
    return problem


def test_a_split_is_resolved_to_a_commit_with_licence_and_files(hub, settings, tmp_path):
    hub.put("team/alpaca", {"README.md": b"#", "train.jsonl": ROWS}, {"license": "cc-by-nc-4.0"})

    source = resolve(settings, ALPACA)
    fetch(settings, source, source.files[0], tmp_path / "0")

    assert (source.revision, source.license, source.config) == (FIRST, "cc-by-nc-4.0", None)
    assert [(file.path, file.bytes) for file in source.files] == [("train.jsonl", len(ROWS))]
    assert (tmp_path / "0").read_bytes() == ROWS
    assert Source.from_dict(source.as_dict()) == source


def test_a_branch_that_moves_after_the_import_changes_nothing(hub, settings, tmp_path):
    hub.put("team/alpaca", {"train.jsonl": ROWS})
    source = resolve(settings, ALPACA)
    hub.put("team/alpaca", {"train.jsonl": b"other\n"}, commit=SECOND)

    fetch(settings, source, source.files[0], tmp_path / "0")

    assert (tmp_path / "0").read_bytes() == ROWS
    assert resolve(settings, ALPACA).revision == SECOND
    assert resolve(settings, SplitRequest("team/alpaca", revision=FIRST)) == source


def test_another_branch_can_be_named(hub, settings):
    hub.put("team/alpaca", {"train.jsonl": ROWS}, commit=SECOND, branch="refs/convert/parquet")

    source = resolve(settings, SplitRequest("team/alpaca", revision="refs/convert/parquet"))

    assert source.revision == SECOND


@pytest.mark.parametrize("name", ["train.jsonl", "data/train-00000-of-00001-a0.parquet"])
@pytest.mark.parametrize("served", [ROWS[:-1], ROWS + b"\n", b"X" + ROWS[1:]])
def test_a_file_that_is_not_as_announced_is_told(name, served, hub, settings, tmp_path):
    hub.put("team/alpaca", {name: ROWS})
    hub.served[name] = served
    source = resolve(settings, ALPACA)

    with pytest.raises(HubFileWrong, match=r"train.*announced"):
        fetch(settings, source, source.files[0], tmp_path / "0")


def test_a_hub_that_takes_longer_than_anybody_waits_is_away(hub, settings, tmp_path):
    hub.put("team/alpaca", {"train.jsonl": ROWS})
    source = resolve(settings, ALPACA)

    with pytest.raises(HubUnavailable, match=r"train\.jsonl was not downloaded within"):
        fetch(settings, source, source.files[0], tmp_path / "0", patience_seconds=-1)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((404, {"X-Error-Code": "RepoNotFound"}), "hub_repo_unknown"),
        ((401, {"X-Error-Code": "RepoNotFound"}), "hub_access_denied"),
        ((401, {}), "hub_access_denied"),
        ((403, {"X-Error-Code": "GatedRepo"}), "hub_access_denied"),
        ((403, {}), "hub_access_denied"),
        ((404, {"X-Error-Code": "RevisionNotFound"}), "hub_revision_unknown"),
    ],
)
def test_a_refusal_of_the_hub_is_told_apart(answer, code, hub, settings):
    hub.refusals["team/alpaca"] = answer

    assert refusal(settings, ALPACA).code == code


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_in_trouble_is_unavailable(status, hub, settings):
    hub.refusals["team/alpaca"] = (status, {})

    with pytest.raises(HubUnavailable, match=str(status)):
        resolve(settings, ALPACA)


def test_a_machine_without_network_says_so_within_seconds(settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(HubUnavailable, match=r"could not be reached.*upload the file"):
            resolve(settings.model_copy(update={"hub_endpoint": endpoint}), ALPACA)

    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("repo", "alpaca"),
        ("repo", "../alpaca"),
        ("repo", "team/../alpaca"),
        ("repo", "/etc/passwd"),
        ("repo", "team/a/b"),
        ("repo", "team/al--paca"),
        ("repo", "https://example.org/x"),
        ("repo", "team/alpaca\n"),
        ("split", "train[:10%]"),
        ("split", "../train"),
        ("config", "/etc"),
        ("revision", "../../main"),
        ("revision", "main?x=1"),
    ],
)
def test_names_of_another_shape_are_refused_without_asking(field, value, hub, settings):
    wanted = SplitRequest(**{"repo": "team/alpaca", field: value})

    problem = refusal(settings, wanted)

    assert (problem.code, problem.pointer) == (f"hub_{field}_invalid", f"/source/{field}")
    assert not hub.asked


@pytest.mark.parametrize(
    "name", ["../../train.jsonl", "/train.jsonl", "a/../train.jsonl", "a\\train.jsonl"]
)
def test_a_hub_that_lists_files_outside_is_refused(name, hub, settings):
    hub.put("team/alpaca", {name: ROWS}, {"configs": [{"data_files": name}]})

    assert refusal(settings, ALPACA).code == "hub_name_unsafe"


def test_a_split_too_large_for_an_upload_is_refused(hub, settings):
    hub.put("team/alpaca", {"train.jsonl": ROWS})
    small = settings.model_copy(update={"max_upload_bytes": len(ROWS) - 1})

    with pytest.raises(TooLarge, match="this server accepts at most"):
        resolve(small, ALPACA)


def test_the_servers_token_is_sent_and_nobody_elses(hub, settings, tmp_path, monkeypatch):
    hub.put("team/alpaca", {"train.jsonl": ROWS})
    monkeypatch.setenv("HF_TOKEN", "hf_of_whoever_runs_this")

    for ours in (settings, settings.model_copy(update={"hub_token": SecretStr("hf_ours")})):
        source = resolve(ours, ALPACA)
        fetch(ours, source, source.files[0], tmp_path / "0")

    assert hub.tokens == {None, "Bearer hf_ours"}


def test_an_answer_that_makes_no_sense_is_no_crash(hub, settings):
    hub.put("team/alpaca", {"train.jsonl": ROWS}, commit="main")

    with pytest.raises(HubUnavailable, match="its response is invalid"):
        resolve(settings, ALPACA)
