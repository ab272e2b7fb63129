"""`tunesmith upload`, `datasets` and `models`."""

import json

import pytest

from app.cli import client, data
from app.cli.submit import InvalidDataset
from app.core.errors import Failure

ID = "ds_" + "b" * 32
READY = {
    "id": ID, "name": "rows.jsonl", "status": "ready", "format": "jsonl", "row_format": "alpaca",
    "num_rows": 480, "num_valid_rows": 480, "num_bytes": 2048, "sha256": "f" * 64,
    "created_at": "2026-11-25T16:00:00.000Z",
}  # fmt: skip
INVALID = {**READY, "status": "invalid", "num_valid_rows": 479}
REPORT = {"problems": [{"code": "empty_output", "message": "Empty.", "hint": "Fill it.", "row": 7}]}
MODEL = {
    "id": "tiny", "num_parameters": 1_234_567, "max_length": 512, "has_chat_template": True,
    "architecture": "LlamaForCausalLM", "is_trainable": True, "problems": [],
}  # fmt: skip


@pytest.fixture
def server(site):
    with client.connect(site.url) as server:
        yield server


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("{}")
    return file


def test_an_upload_prints_its_id_first_and_then_its_rows(site, server, rows, capsys):
    site.answer("/datasets", {**READY, "status": "validating"}, status=201)
    site.answer(f"/datasets/{ID}", READY)

    data.upload(server, rows, {}, wait=True, as_json=False)

    assert capsys.readouterr().out.splitlines() == [ID, "ready: 480 rows, alpaca"]


def test_an_upload_need_not_be_waited_for(site, server, rows, capsys):
    site.answer("/datasets", {**READY, "status": "validating"}, status=201)

    data.upload(server, rows, {}, wait=False, as_json=True)

    assert json.loads(capsys.readouterr().out)["status"] == "validating"


def test_an_invalid_upload_says_how_much_is_good_and_what_is_not(site, server, rows):
    site.answer("/datasets", INVALID, status=201)
    site.answer(f"/datasets/{ID}/report", REPORT)

    with pytest.raises(InvalidDataset, match="479 of its 480 rows can be trained on") as caught:
        data.upload(server, rows, {}, wait=True, as_json=False)

    assert [problem.pointer for problem in caught.value.errors] == ["row 7"]


def test_a_file_that_is_not_there_is_named(server, tmp_path):
    for name, said in (("absent.json", "does not exist"), ("", "is not a file")):
        with pytest.raises(Failure, match=said):
            data.upload(server, tmp_path / name, {}, wait=True, as_json=False)


def test_datasets_are_listed_and_shown_with_their_problems(site, server, capsys):
    site.answer("/datasets", {"data": [READY], "has_more": True})
    site.answer(f"/datasets/{ID}", INVALID)
    site.answer(f"/datasets/{ID}/report", REPORT)

    data.show_datasets(server, 1, as_json=False)
    data.show_dataset(server, ID, as_json=False)

    said = capsys.readouterr().out
    assert f"{ID}  ready   480" in said
    assert "see more with --limit" in said
    assert "row 7: Empty.\n  hint: Fill it.\n" in said


def test_models_are_listed_with_what_forbids_them(site, server, capsys):
    refused = {**MODEL, "id": "pickled", "is_trainable": False, "has_chat_template": None}
    refused["problems"] = [{"message": "weights.bin may be a pickle."}]
    site.answer("/models", {"data": [MODEL, refused]})

    data.show_models(server, as_json=False)

    good, bad = capsys.readouterr().out.splitlines()[1:]
    assert good.split() == ["tiny", "1.2M", "512", "yes", "LlamaForCausalLM"]
    assert bad.endswith("not trainable: weights.bin may be a pickle.")
