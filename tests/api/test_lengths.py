"""Lengths over HTTP: counted with the base model's tokenizer, cached by content, also plotted."""

import json
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.core.settings import Settings
from tests.api.world import ROWS, World
from tests.stacks import ROOT

pytestmark = pytest.mark.slow

SAMPLE = ROOT / "examples/models/tunesmith-tiny"


@pytest.fixture
def model(settings: Settings) -> Iterator[str]:
    """A base model with a working tokenizer, unlike the dummies of the other tests."""
    folder = settings.models_dir / "sample"
    shutil.copytree(SAMPLE, folder)
    yield "sample"
    shutil.rmtree(folder)


def kept(settings: Settings) -> list[Path]:
    store = Path(settings.store_url.removeprefix("file://"))
    return sorted((store / "measures").glob("*.npz"))


def test_rows_are_counted_as_the_librarys_own_tokenizer_counts_them(
    client: TestClient, world: World, model: str
) -> None:
    from transformers import AutoTokenizer

    from app.core.datasets.tokens.templates import alpaca_prompt

    texts = [alpaca_prompt(row) + row["output"] for row in ROWS]  # type: ignore[arg-type]
    tokenizer = AutoTokenizer.from_pretrained(SAMPLE)
    expected = [len(ids) + 1 for ids in tokenizer(texts)["input_ids"]]

    found = client.get(f"/datasets/{world.dataset()}/lengths", params={"model": model})

    assert found.status_code == 200, found.text
    told = found.json()
    assert told["num_rows"] == len(ROWS)
    assert told["tokens"]["total"] == sum(expected)
    assert (told["tokens"]["min"], told["tokens"]["max"]) == (min(expected), max(expected))
    assert told["characters"]["total"] == sum(map(len, texts))
    assert told["tokens"]["over"] == told["cut"]["rows"] == told["cut"]["tokens_lost"] == 0


def test_a_shorter_max_length_costs_what_it_costs_and_counts_nothing_anew(
    client: TestClient, world: World, model: str, settings: Settings
) -> None:
    dataset = world.dataset()
    rows = [json.dumps({**row, "output": "a longer answer " * at}) for at, row in enumerate(ROWS)]
    world.storage.write(f"datasets/{dataset}/rows.jsonl", ["\n".join(rows).encode()])
    path = f"/datasets/{dataset}/lengths"
    whole = client.get(path, params={"model": model}).json()
    [file] = kept(settings)
    before = file.stat().st_mtime_ns
    limit = whole["tokens"]["max"] - 1

    short = client.get(path, params={"model": model, "max_length": limit}).json()

    assert short["cut"]["rows"] == short["tokens"]["over"] >= 1
    assert short["cut"]["tokens_lost"] == short["cut"]["eos_lost_rows"] == short["cut"]["rows"]
    assert short["split"]["eos_lost_rows"] == 0
    assert [each.stat().st_mtime_ns for each in kept(settings)] == [before]


def test_the_same_bytes_under_another_id_are_not_counted_again(
    client: TestClient, world: World, model: str, settings: Settings
) -> None:
    one, other = world.dataset(), world.dataset()

    first = client.get(f"/datasets/{one}/lengths", params={"model": model}).json()
    second = client.get(f"/datasets/{other}/lengths", params={"model": model}).json()

    assert {**first, "dataset": other} == second
    assert len(kept(settings)) == 1


def test_the_same_bytes_read_by_other_columns_are_counted_anew(
    client: TestClient, world: World, model: str
) -> None:
    one, other = world.dataset(), world.dataset(columns={"output": "long"})
    rows = b'{"instruction": "Say", "output": "a much longer answer than the others"}\n'
    world.storage.write(f"datasets/{other}/rows.jsonl", [rows])

    first = client.get(f"/datasets/{one}/lengths", params={"model": model}).json()
    second = client.get(f"/datasets/{other}/lengths", params={"model": model}).json()

    assert (first["num_rows"], second["num_rows"]) == (len(ROWS), 1)


def test_another_tokenizer_or_template_is_counted_by_itself(
    client: TestClient, world: World, model: str, settings: Settings
) -> None:
    path = f"/datasets/{world.dataset()}/lengths"
    client.get(path, params={"model": model})
    config = settings.models_dir / model / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "padding_side": "left"}))

    client.get(path, params={"model": model})
    (settings.models_dir / model / "added_tokens.json").write_text('{"ticket": 999}')
    client.get(path, params={"model": model})

    assert len(kept(settings)) == 3


@pytest.mark.parametrize(
    ("accept", "begin"), [("image/svg+xml", b"<?xml"), ("image/png", b"\x89PNG")]
)
def test_who_asks_for_a_picture_gets_one(
    accept: str, begin: bytes, client: TestClient, world: World, model: str
) -> None:
    path = f"/datasets/{world.dataset()}/lengths"

    drawn = client.get(path, params={"model": model}, headers={"accept": f"{accept}, */*"})

    assert drawn.status_code == 200
    assert drawn.headers["content-type"].partition(";")[0] == accept
    assert drawn.content.startswith(begin)


def test_a_template_the_rows_do_not_fit_is_refused(
    client: TestClient, world: World, model: str
) -> None:
    dataset = world.dataset(features={"instruction": "string", "output": "string"})

    found = client.get(f"/datasets/{dataset}/lengths", params={"model": model, "template": "text"})

    assert (found.status_code, found.json()["code"]) == (422, "template_unfit")
    assert found.json()["errors"][0]["pointer"] == "?template"


def test_an_unknown_model_and_a_dataset_that_is_still_judged_are_told(
    client: TestClient, world: World, model: str
) -> None:
    unknown = client.get(f"/datasets/{world.dataset()}/lengths", params={"model": "sampel"})
    early = client.get(f"/datasets/{world.dataset('validating')}/lengths", params={"model": model})

    assert (unknown.status_code, unknown.json()["code"]) == (422, "model_unknown")
    assert (early.status_code, early.json()["code"]) == (409, "dataset_validating")


def test_a_tokenizer_that_breaks_is_told_and_nothing_is_kept(
    client: TestClient, world: World, model: str, settings: Settings
) -> None:
    (settings.models_dir / model / "tokenizer.json").write_text("{}")

    found = client.get(f"/datasets/{world.dataset()}/lengths", params={"model": model})

    assert (found.status_code, found.json()["code"]) == (422, "dataset_not_measured")
    assert kept(settings) == []


def test_numbers_are_kept_without_a_pickle(
    client: TestClient, world: World, model: str, settings: Settings
) -> None:
    client.get(f"/datasets/{world.dataset()}/lengths", params={"model": model})

    with np.load(kept(settings)[0], allow_pickle=False) as arrays:
        assert {len(arrays[name]) for name in arrays.files} == {len(ROWS)}


def test_a_template_that_never_ends_is_ended_in_seconds(
    client: TestClient, world: World, model: str, settings: Settings
) -> None:
    dataset = world.dataset()
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (settings.models_dir / model / "chat_template.jinja").write_text(loops)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    counted = client.get(
        f"/datasets/{dataset}/lengths", params={"model": model, "template": "chat"}
    )
    spec = {"model": model, "dataset": dataset, "template": "chat"}
    planned = client.post("/jobs", params={"dry_run": True}, json=spec)

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for told in (counted, planned):
        assert (told.status_code, told.json()["code"]) == (422, "dataset_not_measured")
        assert "far too long with this template" in told.json()["detail"]
    assert after.ru_utime - before.ru_utime < 25
    assert kept(settings) == []


def test_a_row_that_a_template_refuses_is_named(
    client: TestClient, world: World, model: str, settings: Settings
) -> None:
    text = "{{ raise_exception('no more than three') if messages[0].content == 'Do it 3' }}x"
    (settings.models_dir / model / "chat_template.jinja").write_text(text)
    dataset = world.dataset()
    rows = [json.dumps({"instruction": f"Do it {at}", "output": "y"}) for at in range(5)]
    world.storage.write(f"datasets/{dataset}/rows.jsonl", ["\n".join(rows).encode()])

    told = client.get(f"/datasets/{dataset}/lengths", params={"model": model, "template": "chat"})

    assert (told.status_code, told.json()["code"]) == (422, "dataset_not_measured")
    assert "Row 3: TemplateError: no more than three" in told.json()["detail"]
