"""Choosing the files of a split."""

import time

import pytest

from app.core.datasets.hub_files import HubRefused, choose

SHARDS = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]


def configs(*entries):
    return {"configs": [{"config_name": "default", **entry} for entry in entries]}


@pytest.mark.parametrize(
    ("names", "split", "expected"),
    [
        ([*SHARDS, "data/test-00000-of-00001.parquet"], "train", SHARDS),
        (["train.jsonl", "test.jsonl"], "test", ["test.jsonl"]),
        (["my-train.json", "dev.json"], "validation", ["dev.json"]),
        (["train/a.csv", "eval/a.csv"], "test", ["eval/a.csv"]),
        (["train/test.csv"], "train", ["train/test.csv"]),
        (["alpaca_data.json", "README.md"], "train", ["alpaca_data.json"]),
        (["constraints.json"], "train", ["constraints.json"]),
        (["rows.jsonl.gz", "config.json", ".hidden.json"], "train", ["rows.jsonl.gz"]),
    ],
)
def test_without_a_card_names_tell(names, split, expected):
    assert choose({}, names, None, split) == (None, expected)


@pytest.mark.parametrize(
    ("data_files", "split", "expected"),
    [
        ("a.json", "train", ["a.json"]),
        ("./*.json", "train", ["a.json", "b.json"]),
        (["b.json", "*.json"], "train", ["b.json", "a.json"]),
        ({"train": "a.json", "extra": ["b.json"]}, "extra", ["b.json"]),
        ([{"split": "x", "path": "**/c.json"}], "x", ["sub/c.json", "sub/deep/c.json"]),
        ([{"split": "x", "path": ["sub/*.json", "a.json"]}], "x", ["sub/c.json", "a.json"]),
        ("[ab].json", "train", ["a.json", "b.json"]),
    ],
)
def test_the_card_tells_in_every_form(data_files, split, expected):
    names = ["a.json", "b.json", "sub/c.json", "sub/deep/c.json"]

    card = configs({"data_files": data_files})

    assert choose(card, names, None, split) == ("default", expected)


def test_configs_are_chosen_by_name_by_mark_and_by_being_alone():
    card = configs(
        {"config_name": "en", "data_files": "en.json"},
        {"config_name": "de", "data_dir": "german", "default": True},
    )
    names = ["en.json", "german/train.json", "german/test.json"]

    assert choose(card, names, None, "train") == ("de", ["german/train.json"])
    assert choose(card, names, "en", "train") == ("en", ["en.json"])


@pytest.mark.parametrize(
    ("card", "names", "config", "split", "code", "hint"),
    [
        ({}, ["train.json", "test.json"], None, "dev", "hub_split_unknown", "`test`, `train`"),
        ({}, ["alpaca.py", "README.md"], None, "train", "hub_needs_script", "parquet"),
        ({}, ["data.zip"], None, "train", "hub_no_data_files", "upload"),
        ({}, ["a.json"], "en", "train", "hub_config_unknown", "none"),
        (configs({"data_files": "a.zip"}), ["a.zip"], None, "train", "hub_format_unsupported", ""),
        ({}, ["a.json", "a.csv"], None, "train", "hub_formats_mixed", ""),
        (configs({"data_files": "/etc/*"}), ["a.json"], None, "train", "hub_split_unknown", ""),
        (configs({"data_files": 7}), ["a.json"], None, "train", "hub_no_data_files", ""),
        ({"configs": [{"config_name": "a"}, {"config_name": "b"}]}, [], None, "train",
         "hub_config_unknown", "`a`, `b`"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_is_told(card, names, config, split, code, hint):
    with pytest.raises(HubRefused) as refused:
        choose(card, names, config, split)

    [problem] = refused.value.errors
    assert problem.code == code
    assert hint in problem.hint


def test_a_malicious_pattern_takes_no_time():
    name = "/".join(["a" * 50] * 20) + "/train.json"
    pattern = "**/" * 30 + "*a" * 40 + "/nothing"
    began = time.monotonic()

    with pytest.raises(HubRefused):
        choose(configs({"data_files": pattern}), [name] * 200, None, "train")

    assert time.monotonic() - began < 2
