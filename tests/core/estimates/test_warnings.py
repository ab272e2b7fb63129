"""One list of warnings from plain facts: each with a pointer, a code and a helpful hint."""

from pathlib import Path
from typing import Any

import pytest

from app.core import licenses
from app.core.errors import Problem
from app.core.estimates.needs import Needs
from app.core.estimates.warnings import Facts, warnings_of
from app.core.jobs.spec import JobSpec

GIB = 1 << 30


def warnings_for(
    needs: Needs = Needs(), marks: tuple[str, ...] = (), **changes: Any
) -> list[Problem]:
    spec = JobSpec.model_validate({"model": "m", "dataset": "d", **changes})
    return warnings_of(Facts(spec=spec, needs=needs, missing_marks=marks))


def test_a_spec_of_defaults_on_a_machine_nobody_knows_is_warned_of_nothing():
    assert warnings_for() == []


@pytest.mark.parametrize(
    ("verdict", "code"), [("yes", None), ("tight", "memory_tight"), ("no", "memory_short")]
)
def test_memory_that_is_short_is_told_with_what_to_lower(verdict, code):
    found = warnings_for(Needs(peak_bytes=9 * GIB, device="cpu", verdict=verdict))

    assert [each.code for each in found] == ([code] if code else [])
    if found:
        assert found[0].pointer == "/training/per_device_train_batch_size"
        assert "9.0 GiB" in found[0].message


@pytest.mark.parametrize(
    ("changes", "pointer", "word"),
    [
        ({}, "/training/per_device_train_batch_size", "Halve"),
        (
            {"training": {"per_device_train_batch_size": 1, "gradient_checkpointing": False}},
            "/training/gradient_checkpointing",
            "gradient_checkpointing",
        ),
        ({"training": {"per_device_train_batch_size": 1}}, "/quantization", "nf4"),
        (
            {"training": {"per_device_train_batch_size": 1}, "quantization": "nf4"},
            "/training/max_length",
            "max_length",
        ),
    ],
)
def test_the_hint_for_memory_is_the_cheapest_change_left(changes, pointer, word):
    (found,) = warnings_for(Needs(peak_bytes=GIB, device="cpu", verdict="no"), **changes)

    assert found.pointer == pointer
    assert word in found.hint


@pytest.mark.parametrize(("free", "is_warned"), [(4 * GIB, True), (6 * GIB, False), (None, False)])
def test_a_disk_that_is_short_is_told(free, is_warned):
    found = warnings_for(Needs(disk_bytes=5 * GIB, free_bytes=free))

    assert [each.code for each in found] == (["disk_short"] if is_warned else [])


@pytest.mark.parametrize(("seconds", "is_warned"), [(50.0, False), (70.0, True), (None, False)])
def test_a_time_limit_that_is_short_is_told(seconds, is_warned):
    found = warnings_for(Needs(seconds=seconds), limits={"max_seconds": 60})

    assert [each.code for each in found] == (["deadline_short"] if is_warned else [])


def test_an_architecture_nobody_can_size_is_told():
    (found,) = warnings_for(Needs(unknown="How much it takes is unknown."))

    assert (found.pointer, found.code) == ("/model", "memory_unknown")


def test_marks_that_are_no_tokens_are_named():
    (found,) = warnings_for(marks=("<|a|>", "<|b|>"))

    assert found.code == "template_tokens_missing"
    assert found.message.startswith("The base model's tokenizer splits <|a|>, <|b|> into")


@pytest.mark.parametrize(
    ("rank", "served"),
    [(1, None), (16, None), (17, 32), (32, 32), (33, 64), (129, 256), (257, 320), (512, 512)],
)
def test_a_rank_names_what_a_server_must_be_started_with(rank, served):
    found = warnings_for(lora={"r": rank})

    assert [f"--max-lora-rank {served}`" in each.hint for each in found] == [True] * bool(served)


@pytest.mark.parametrize(
    ("stated", "is_warned"),
    [
        ("apache-2.0", False),
        ("MIT", False),
        ("cc-by-sa-4.0", False),
        ("cc-by-nc-4.0", True),
        ("cc-by-nd-4.0", True),
        ("llama3.1", True),
        ("other", True),
        ("mit, cc-by-nc-sa-3.0", True),
        (None, False),
        ("", False),
    ],
)
def test_a_licence_that_may_not_allow_all_is_told(stated, is_warned):
    found = list(licenses.about("/dataset", "The dataset", stated))

    assert [each.code for each in found] == ["license_restricts"] * is_warned
    if stated and "nc" in stated:
        assert "commercial" in found[0].message


@pytest.mark.parametrize(
    ("card", "stated"),
    [
        ("---\nlicense: cc-by-nc-4.0\n---\n", "cc-by-nc-4.0"),
        ('---\ntags: [a]\nlicense: "MIT"\n---\n# x\nlicense: other\n', "mit"),
        ("# x\nlicense: mit\n", None),
        ("---\ntags: [a]\n---\nlicense: mit\n", None),
        ("", None),
        (None, None),
    ],
)
def test_the_card_of_a_base_states_its_licence_in_its_metadata_only(tmp_path: Path, card, stated):
    if card is not None:
        (tmp_path / "README.md").write_text(card)

    assert licenses.of_folder(tmp_path) == stated


@pytest.mark.parametrize(
    ("lora", "codes"),
    [
        ({}, []),
        ({"use_dora": False, "use_rslora": True}, []),
        ({"use_dora": True}, ["dora_not_served"]),
        ({"use_dora": True, "r": 64}, ["rank_above_default", "dora_not_served"]),
    ],
)
def test_an_adapter_that_servers_refuse_is_warned_of(lora, codes):
    assert [each.code for each in warnings_for(lora=lora)] == codes
