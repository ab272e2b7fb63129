"""Downloads with the real hub client, from a stand-in for the hub on this machine."""

import json
import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.core.models import (
    ModelNotServed,
    ModelRefused,
    ModelUnavailable,
    fetch_model,
    find_model,
    list_models,
)
from tests.core.models.standins import COMMIT, CONFIG, model_files


def test_an_allowed_model_is_fetched_once_and_checked(hub, hub_settings):
    hub.repos["team/small"] = model_files()

    folder = fetch_model(hub_settings, "team/small", COMMIT)

    assert {file.name for file in folder.iterdir()} == model_files().keys()
    assert folder.is_relative_to(hub_settings.data_dir)
    num_asked = len(hub.asked)
    assert fetch_model(hub_settings, "team/small", COMMIT) == folder
    assert len(hub.asked) == num_asked
    model = find_model(hub_settings, "team/small", COMMIT)
    assert (model.path, model.num_parameters) == (folder, 512 * 8 + 8)


def test_a_fetched_model_shows_in_the_list(hub, hub_settings):
    hub.repos["team/small"] = model_files()
    pinned = hub_settings.model_copy(update={"allowed_models": frozenset({f"team/small@{COMMIT}"})})
    assert [model.path for model in list_models(pinned)] == [None]

    folder = fetch_model(pinned, "team/small")

    assert [model.path for model in list_models(pinned)] == [folder]


def test_code_and_pickles_are_not_even_fetched(hub, hub_settings):
    evil = {
        "evil.py": b"canary",
        "pytorch_model.bin": b"\x80\x04canary",
        "sub/config.json": b"canary",
    }
    hub.repos["team/evil"] = {**model_files(), **evil}

    fetch_model(hub_settings, "team/evil", COMMIT)

    assert not any("evil.py" in path or ".bin" in path or "sub/" in path for path in hub.asked)
    files = [file for file in hub_settings.data_dir.rglob("*") if file.is_file()]
    assert not any(b"canary" in file.read_bytes() for file in files if "blobs" in file.parts)


@pytest.mark.parametrize("name", ["../../../../escaped.json", "tokenizer_config.json/../../x.json"])
def test_a_hub_that_names_files_outside_writes_nothing_there(name, hub, hub_settings, tmp_path):
    hub.repos["team/evil"] = {**model_files(), name: b"{}"}

    fetch_model(hub_settings, "team/evil", COMMIT)

    assert not list(tmp_path.rglob("escaped.json"))
    assert not list(tmp_path.rglob("x.json"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (
            {"config.json": json.dumps({**CONFIG, "auto_map": {"AutoModel": "evil.E"}}).encode()},
            "model_config_unsafe",
        ),
        ({"model.safetensors": b"\xff" * 100}, "model_weights_bad"),
        ({"tokenizer.json": None}, "model_incomplete"),
    ],
)
def test_what_was_fetched_is_checked_like_any_folder(changes, code, hub, hub_settings):
    files = {**model_files(), **changes}
    hub.repos["team/evil"] = {name: body for name, body in files.items() if body is not None}

    for _ in range(2):  # also when it is already here
        with pytest.raises(ModelRefused) as refused:
            fetch_model(hub_settings, "team/evil", COMMIT)
        assert [problem.code for problem in refused.value.errors] == [code]


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        ((404, {"X-Error-Code": "RepoNotFound"}), "model_not_on_hub"),
        ((401, {"X-Error-Code": "RepoNotFound"}), "model_access_denied"),
        ((401, {}), "model_access_denied"),
        (
            (401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
            "model_access_denied",
        ),
        ((403, {"X-Error-Code": "GatedRepo"}), "model_access_denied"),
        ((403, {}), "model_access_denied"),
        ((404, {"X-Error-Code": "RevisionNotFound"}), "revision_not_on_hub"),
    ],
)
def test_a_refusal_of_the_hub_is_told_apart(refusal, code, hub, hub_settings):
    hub.refusals["team/closed"] = refusal

    with pytest.raises(ModelNotServed) as refused:
        fetch_model(hub_settings, "team/closed", COMMIT)

    [problem] = refused.value.errors
    assert problem.code == code
    assert problem.pointer == ("/model_revision" if code == "revision_not_on_hub" else "/model")


def test_without_network_the_error_says_so_and_what_to_do(settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        offline = settings.model_copy(
            update={
                "hub_endpoint": f"http://127.0.0.1:{taken.getsockname()[1]}",
                "allowed_models": frozenset({"team/small"}),
            }
        )
        with pytest.raises(ModelUnavailable, match="could not be reached") as unavailable:
            fetch_model(offline, "team/small", COMMIT)

    assert unavailable.value.code == "model_download_failed"
    assert "MODELS_DIR" in unavailable.value.detail


def test_the_servers_token_is_sent_and_nobody_elses(hub, hub_settings, monkeypatch):
    hub.repos["team/small"] = model_files()
    monkeypatch.setenv("HF_TOKEN", "hf_of_whoever_runs_this")

    fetch_model(hub_settings, "team/small", COMMIT)
    assert hub.tokens == {None}

    ours = hub_settings.model_copy(
        update={"hub_token": SecretStr("hf_ours"), "data_dir": Path(hub_settings.data_dir, "2")}
    )
    fetch_model(ours, "team/small", COMMIT)
    assert hub.tokens == {None, "Bearer hf_ours"}


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_in_trouble_is_unavailable_not_refusing(status, hub, hub_settings):
    hub.refusals["team/closed"] = (status, {})

    with pytest.raises(ModelUnavailable, match=str(status)):
        fetch_model(hub_settings, "team/closed", COMMIT)
