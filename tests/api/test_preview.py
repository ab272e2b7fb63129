"""Previews over HTTP: the base model's tokenizer in a sandboxed child, and helpful errors."""

import json
import resource
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.core.settings import Settings
from app.core.templates.template import ours
from tests.api.world import ROWS, World
from tests.stacks import ROOT

pytestmark = pytest.mark.slow

SAMPLE = ROOT / "examples/models/tunesmith-tiny"
LONG = "a longer answer " * 100


@pytest.fixture
def model(settings: Settings) -> Iterator[str]:
    folder = settings.models_dir / "shown"
    shutil.copytree(SAMPLE, folder)
    yield "shown"
    shutil.rmtree(folder)


@pytest.fixture
def dataset(world: World) -> str:
    """A dataset with the rows of the other tests, except for the fourth, which is long."""
    dataset_id = world.dataset()
    rows = [*ROWS[:3], {**ROWS[3], "output": LONG}, *ROWS[4:]]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    world.storage.write(f"datasets/{dataset_id}/rows.jsonl", [lines.encode()])
    return dataset_id


def ask(client: TestClient, dataset: str, **params: Any) -> Any:
    accept = {"accept": params.pop("accept", "application/json")}
    params = {name: value for name, value in params.items() if value is not None}
    return client.get(f"/datasets/{dataset}/preview", params=params, headers=accept)


def test_rows_are_shown_with_their_tokens_and_mask(
    client: TestClient, dataset: str, model: str
) -> None:
    from transformers import AutoTokenizer

    from app.core.datasets.tokens.templates import alpaca_prompt

    tokenizer = AutoTokenizer.from_pretrained(SAMPLE)

    told = ask(client, dataset, model=model, n=3).json()

    assert (told["template"], told["train_on"], told["packing"]) == ("alpaca", "completion", True)
    assert (told["num_rows"], told["has_more"], told["spelled_out"]) == (len(ROWS), True, [])
    assert [row["row"] for row in told["data"]] == [0, 1, 2]
    for row, given in zip(told["data"], ROWS[:3], strict=True):
        prompt = alpaca_prompt(given)  # type: ignore[arg-type]
        assert row["text"] == prompt + given["output"]
        ids = [each["id"] for each in row["tokens"]]
        assert ids == [*tokenizer(row["text"])["input_ids"], tokenizer.eos_token_id]
        size = len(tokenizer(prompt)["input_ids"])
        assert [each["trained"] for each in row["tokens"]] == [at >= size for at in range(len(ids))]
        shown = "".join(each["text"] for each in row["tokens"])
        assert shown == tokenizer.decode(ids)
        assert row["eos"] == {"present": True, "trained": True, "lost": False}
        assert (row["num_tokens"], row["num_trained"]) == (len(ids), len(ids) - size)


def test_any_rows_can_be_named(client: TestClient, dataset: str, model: str) -> None:
    picked = ask(client, dataset, model=model, rows="17,3,17").json()
    last = ask(client, dataset, model=model, offset=20, n=100).json()
    beyond = ask(client, dataset, model=model, offset=1000).json()

    assert [row["row"] for row in picked["data"]] == [3, 17]
    assert not picked["has_more"]
    assert [row["row"] for row in last["data"]] == [20, 21, 22, 23, 24]
    assert not last["has_more"]
    assert (beyond["data"], beyond["has_more"]) == ([], False)


def test_what_max_length_cuts_is_shown(client: TestClient, dataset: str, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "rows": "3", "max_length": 96}

    [whole] = ask(client, dataset, model=model, rows="3", max_length=4096).json()["data"]
    [cut] = ask(client, dataset, **asked, packing=False).json()["data"]
    [split] = ask(client, dataset, **asked, packing=True).json()["data"]

    assert cut["num_tokens"] == 96
    assert cut["truncated"]["num_tokens"] == whole["num_tokens"] - 96
    assert cut["eos"] == {"present": False, "trained": False, "lost": True}
    assert cut["truncated"]["text"].endswith("a longer answer <eos>")
    assert split["truncated"] is None
    assert split["num_tokens"] == whole["num_tokens"]
    assert sum(each["num_tokens"] for each in split["pieces"]) == whole["num_tokens"]
    assert len(split["pieces"]) == -(-whole["num_tokens"] // 96)
    assert [each["trained"] for each in split["tokens"]][96::96] == [False] * (
        len(split["pieces"]) - 1
    )


def test_what_is_left_out_is_as_a_job_has_it(client: TestClient, dataset: str, model: str) -> None:
    told = ask(client, dataset, model=model).json()
    job = client.post("/jobs", json={"model": model, "dataset": dataset}).json()

    for name in ("template", "train_on"):
        assert told[name] == job[name]
    for name in ("max_length", "packing"):
        assert told[name] == job["training"][name]


def test_a_terminal_is_told_what_is_cut_off(client: TestClient, dataset: str, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "rows": "3", "max_length": 96, "packing": False}

    text = ask(client, dataset, **asked, accept="text/plain").text
    [row] = ask(client, dataset, **asked).json()["data"]

    assert text.endswith(f"--- truncated: {row['truncated']['text']}\n")


def test_a_terminal_gets_text_with_the_trained_parts_marked(
    client: TestClient, world: World, model: str
) -> None:
    dataset = world.dataset()
    row = {"instruction": "Say\x1b[2J it", "output": "it"}
    world.storage.write(f"datasets/{dataset}/rows.jsonl", [json.dumps(row).encode()])

    found = ask(client, dataset, model=model, accept="text/plain")

    assert found.headers["content-type"] == "text/plain; charset=utf-8"
    assert "\u27e6it<eos>\u27e7" in found.text
    assert "Say\\x1b[2J it" in found.text


def test_a_terminal_shows_tool_calls_as_they_are_trained(
    client: TestClient, world: World, model: str, settings: Settings
) -> None:
    calls = "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}"
    said = "{% for m in messages %}{{ m.role }}: {{ m.content }}" + calls + "\n{% endfor %}"
    asked = "{% if add_generation_prompt %}assistant: {% endif %}"
    text = "{{ tools | tojson if tools }}" + said + asked
    (settings.models_dir / model / "chat_template.jinja").write_text(text)
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    calling = {"role": "assistant", "content": "", "tool_calls": [call]}
    tools = [{"type": "function", "function": {"name": "weather"}}]
    row = {"messages": [{"role": "user", "content": "And in Oslo?"}, calling], "tools": tools}
    dataset = world.dataset()
    world.storage.write(f"datasets/{dataset}/rows.jsonl", [json.dumps(row).encode()])

    shown = ask(client, dataset, model=model, template="chat", accept="text/plain").text
    refused = ask(client, dataset, model=model, template="alpaca")

    assert '\u27e6{"name": "weather", "arguments": {"city": "Oslo"}}<eos>\u27e7' in shown
    assert '{"type": "function", "function": {"name": "weather"}}' in shown
    assert (refused.status_code, refused.json()["code"]) == (422, "preview_failed")
    assert 'template "alpaca" cannot write tool calls' in refused.json()["detail"]


@pytest.mark.parametrize("name", ["chatml", "vicuna", "llama-2", "llama-3", "zephyr"])
def test_a_named_template_needs_no_template_of_the_base(
    client: TestClient, dataset: str, model: str, name: str
) -> None:
    told = ask(client, dataset, model=model, template=name, max_length=2048, n=2).json()

    listed = {each["name"]: each for each in client.get("/templates").json()["data"]}
    assert told["spelled_out"] == listed[name]["special_tokens"]
    assert all(row["eos"]["trained"] and row["num_trained"] for row in told["data"])


@pytest.mark.parametrize(
    ("params", "status", "code", "pointer"),
    [
        ({"model": "shwn"}, 422, "model_unknown", "/model"),
        ({"template": "chatlm"}, 422, "template_unknown", "?template"),
        ({"template": "text"}, 422, "template_unfit", "?template"),
        ({"template": "chat"}, 422, "template_unfit", "?template"),
        ({"rows": "3,25"}, 422, "out_of_range", "?rows"),
        ({"rows": "3;5"}, 422, "wrong_format", "?rows"),
        ({"n": 101}, 422, "out_of_range", "?n"),
        ({"offset": -1}, 422, "out_of_range", "?offset"),
        ({"max_length": 7}, 422, "out_of_range", "?max_length"),
        ({"train_on": "answer"}, 422, "not_allowed", "?train_on"),
    ],
    ids=str,
)
def test_each_wrong_parameter_is_pointed_at(
    client: TestClient,
    world: World,
    model: str,
    params: dict[str, Any],
    status: int,
    code: str,
    pointer: str,
) -> None:
    dataset = world.dataset(features={"instruction": "", "output": ""})

    found = ask(client, dataset, **{"model": model, **params})

    assert found.status_code == status, found.text
    assert [(each["code"], each["pointer"]) for each in found.json()["errors"]] == [(code, pointer)]


def test_a_ready_text_is_trained_whole(client: TestClient, world: World, model: str) -> None:
    dataset = world.dataset(features={"text": ""})
    world.storage.write(f"datasets/{dataset}/rows.jsonl", [b'{"text": "one two"}\n'])

    told = ask(client, dataset, model=model, template="text").json()
    refused = ask(client, dataset, model=model, template="text", train_on="completion")

    assert told["train_on"] == "all"
    assert [each["trained"] for each in told["data"][0]["tokens"]][1:].count(False) == 0
    assert refused.json()["errors"][0]["pointer"] == "?train_on"


def test_a_dataset_that_is_still_judged_and_another_projects_are_told(
    client: TestClient, world: World, model: str
) -> None:
    early = ask(client, world.dataset("validating"), model=model)
    other = ask(client, world.dataset(project=world.project()), model=model)

    assert (early.status_code, early.json()["code"]) == (409, "dataset_validating")
    assert (other.status_code, other.json()["code"]) == (404, "dataset_not_found")


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("tokenizer.json", "{}", "The tokenizer of this model cannot be used"),
        ("chat_template.jinja", "{{ raise_exception('no') }}", "cannot render these rows"),
        (
            "chat_template.jinja",
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "takes too long",
        ),
    ],
)
def test_a_model_whose_files_break_is_told_while_others_are_served(
    client: TestClient,
    dataset: str,
    model: str,
    settings: Settings,
    file: str,
    text: str,
    says: str,
) -> None:
    (settings.models_dir / model / file).write_text(text)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    template = "chat" if "chat" in file else "alpaca"
    found = ask(client, dataset, model=model, template=template, n=1)

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (found.status_code, found.json()["code"]) == (422, "preview_failed"), found.text
    assert says in found.json()["detail"]
    assert after.ru_utime - before.ru_utime < 15
    assert client.get("/healthz").status_code == 200


def test_ten_rows_take_no_second_of_work(client: TestClient, dataset: str, model: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert ask(client, dataset, model=model, n=10).status_code == 200

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 1, spent


def test_long_rows_come_in_several_answers(client: TestClient, world: World, model: str) -> None:
    dataset = world.dataset()
    row = {"instruction": "Say it", "output": "word " * 60_000}
    world.storage.write(f"datasets/{dataset}/rows.jsonl", [(json.dumps(row) + "\n").encode() * 25])

    told = ask(client, dataset, model=model, max_length=64).json()

    assert 0 < len(told["data"]) < 10
    assert told["has_more"]


@pytest.fixture
def own(client: TestClient, settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """The server with custom templates, which no other test uses."""
    good = (ours()["zephyr"].text or "").replace("'<|", "'<|my_")
    (tmp_path / "house.jinja").write_text("{#- How we talk. -#}" + good)
    (tmp_path / "evil.jinja").write_text("{{ cycler.__init__.__globals__ }}")
    state = client.app.state  # type: ignore[attr-defined]
    usual = state.adapters
    changed = settings.model_copy(update={"templates_dir": tmp_path})
    state.adapters = replace(usual, settings=changed)
    yield client
    state.adapters = usual


def test_a_servers_own_template_serves_like_ours(own: TestClient, dataset: str, model: str) -> None:
    listed = {each["name"]: each for each in own.get("/templates").json()["data"]}
    told = ask(own, dataset, model=model, template="house", n=1).json()
    counted = own.get(f"/datasets/{dataset}/lengths", params={"model": model, "template": "house"})
    job = own.post("/jobs", json={"model": model, "dataset": dataset, "template": "house"})

    assert listed["house"]["is_custom"]
    assert listed["house"]["description"] == "How we talk."
    assert told["data"][0]["text"].startswith("<bos><|my_user|>\nSay 0")
    assert told["spelled_out"] == ["<|my_assistant|>", "<|my_user|>"]
    assert counted.json()["tokens"]["min"] == min(
        row["num_tokens"]
        for row in ask(own, dataset, model=model, template="house", n=100, max_length=4096).json()[
            "data"
        ]
    )
    assert (job.status_code, job.json()["template"]) == (201, "house")


def test_a_servers_own_bad_template_is_listed_and_refused(
    own: TestClient, dataset: str, model: str
) -> None:
    listed = {each["name"]: each for each in own.get("/templates").json()["data"]}
    shown = ask(own, dataset, model=model, template="evil")
    job = own.post("/jobs", json={"model": model, "dataset": dataset, "template": "evil"})

    assert [each["code"] for each in listed["evil"]["problems"]] == ["template_unsafe"]
    for refused, pointer in ((shown, "?template"), (job, "/template")):
        assert (refused.status_code, refused.json()["code"]) == (422, "template_refused")
        [problem] = refused.json()["errors"]
        assert (problem["pointer"], problem["code"]) == (pointer, "template_unsafe")


def test_templates_are_listed_with_what_they_need(client: TestClient) -> None:
    listed = client.get("/templates").json()["data"]

    assert [each["name"] for each in listed[:3]] == ["alpaca", "chat", "text"]
    assert {each["name"]: each["needs"] for each in listed}["text"] == ["text"]
    for each in listed:
        assert each["description"]
        assert not each["is_custom"]
        assert (each["text"] is None) == (each["name"] in ("chat", "text"))
        assert (each["sha256"] is None) == (each["text"] is None)


def test_of_a_huge_row_the_first_tokens_are_listed_and_all_are_counted(
    client: TestClient, world: World, model: str
) -> None:
    dataset = world.dataset()
    row = {"instruction": "x", "output": "\U0001f680" * 30_000}
    world.storage.write(f"datasets/{dataset}/rows.jsonl", [json.dumps(row).encode() + b"\n"])

    [told] = ask(client, dataset, model=model, n=1, max_length=8).json()["data"]
    [whole] = ask(client, dataset, model=model, n=1, max_length=1 << 20).json()["data"]
    text = ask(client, dataset, model=model, n=1, max_length=1 << 20, accept="text/plain").text

    assert (len(told["tokens"]), len(told["pieces"])) == (50_000, 1000)
    assert told["num_pieces"] == -(-told["num_tokens"] // 8)
    assert whole["num_trained"] > 100_000
    assert len(whole["tokens"]) == 50_000
    assert f"--- and {whole['num_tokens'] - 50_000:,} more tokens" in text
