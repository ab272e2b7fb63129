"""The plan's template is saved with the adapter, whose tokenizer renders the trained prompt."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from app.core.datasets.tokens.templates import chat_messages
from app.core.jobs.protocol import FrozenTemplate, Plan
from app.core.templates.template import ours
from worker.training.data import load_splits
from worker.training.failures import BadPlan
from worker.training.model import load_tokenizer
from worker.training.plan import fingerprint, frozen_template

HOUSE = "{#- Ours. #}" + (ours()["zephyr"].text or "").replace("'<|", "'<|my_")
ROWS: list[Any] = [
    {"instruction": "Say hi", "output": "hi"},
    {"instruction": "Say it", "input": "caf\u00e9", "output": "so", "system": "Be brief."},
    {"instruction": "Go on", "output": "on", "history": [["Say a", "a"], ["Say b", "b"]]},
]


def plan_of(bench: Any, name: str, **training: Any) -> Plan:
    """A plan with the template frozen into it, as the supervisor does."""
    made = bench.plan(ROWS, template=name, training={"max_length": 512, **training})
    if name == "house":
        digest = sha256(HOUSE.encode()).hexdigest()
        marks = ["<|my_user|>", "<|my_assistant|>"]
        template = FrozenTemplate(name=name, text=HOUSE, sha256=digest, special_tokens=marks)
    else:
        template = ours()[name].frozen()
    return made.model_copy(update={"template": template})


def messages_of(row: Any, template: str) -> list[dict[str, str]]:
    """The messages of a row; Alpaca's template takes instruction and input separately."""
    if template != "alpaca":
        return chat_messages(row)
    messages = chat_messages(row | {"input": ""})
    return [*messages[:-1], {**messages[-1], "input": row.get("input", "")}]


@pytest.mark.parametrize("name", ["alpaca", "chatml", "llama-2", "house"])
def test_the_adapters_tokenizer_gives_the_prompt_that_was_trained(bench, name):
    from transformers import AutoTokenizer

    plan = plan_of(bench, name, max_steps=1)
    assert plan.template is not None

    outcome = bench.run(plan)

    assert outcome.status == 0, outcome.failure
    folder = outcome.run_dir / "artifact"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for row, example in zip(ROWS, load_splits(plan, load_tokenizer(plan)).train, strict=True):
        prompt = tokenizer.apply_chat_template(
            messages_of(row, name), add_generation_prompt=True, return_dict=False
        )
        assert example.input_ids[: example.prompt_size] == prompt
        assert len(prompt) > 10
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["template"] == {"name": name, "sha256": plan.template.sha256}
    assert json.loads((folder / "prompt_template.json").read_text())["name"] == name
    assert "`chat_template.jinja`" in (folder / "README.md").read_text()
    if name != "alpaca":
        assert sha256((folder / "chat_template.jinja").read_bytes()).hexdigest() == (
            plan.template.sha256
        )
    missing = plan.template.special_tokens
    warnings = [each for each in outcome.of("warning") if each["code"] == "template_tokens_missing"]
    assert [each["pointer"] for each in warnings] == ["/template"] * bool(missing)


def test_a_base_that_chats_does_not_lend_its_template_to_alpaca(bench, tmp_path, tiny_base):
    import shutil

    folder = tmp_path / "chatting"
    shutil.copytree(tiny_base, folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    bench.base = folder

    alpaca = bench.run(plan_of(bench, "alpaca", max_steps=1)).run_dir / "artifact"

    assert "### Response:" in (alpaca / "chat_template.jinja").read_text()


def test_a_plan_made_by_hand_has_one_of_ours_by_name(bench):
    made = bench.plan(ROWS, template="chatml")

    assert made.template is None
    assert frozen_template(made) == ours()["chatml"].frozen()
    with pytest.raises(BadPlan):
        frozen_template(bench.plan(ROWS, template="house"))


@pytest.mark.parametrize(
    "change", [{"text": HOUSE + " "}, {"sha256": "0" * 64}, {"name": "chatml"}, {"text": None}]
)
def test_a_template_that_is_not_what_its_hash_says_is_refused(bench, change):
    plan = plan_of(bench, "house")
    assert plan.template is not None
    spoiled = plan.template.model_copy(update=change)

    with pytest.raises(BadPlan):
        frozen_template(plan.model_copy(update={"template": spoiled}))


def test_no_checkpoint_of_another_wording_is_gone_on_from(bench):
    plan = plan_of(bench, "house")
    other = FrozenTemplate(name="house", text="x", sha256=sha256(b"x").hexdigest())

    changed = plan.model_copy(update={"template": other})

    assert fingerprint(plan) == fingerprint(plan.model_copy(update={"attempt": 2}))
    assert fingerprint(plan) != fingerprint(changed)


def test_the_trained_tokens_are_those_of_the_plans_text(bench, tmp_path: Path):
    plan = plan_of(bench, "house")

    tokenizer = load_tokenizer(plan)

    assert tokenizer.chat_template == HOUSE
    example = load_splits(plan, tokenizer).train[0]
    assert tokenizer.decode(example.input_ids) == (
        "<s><|my_user|>\nSay hi</s>\n<|my_assistant|>\nhi</s>"
    )
