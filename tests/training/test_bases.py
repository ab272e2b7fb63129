"""Bases as people have them: weights that are missing, attention that is not installed."""

import io
import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from worker.training import prepare
from worker.training.failures import BadModel
from worker.training.model import load_base
from worker.training.reporter import Reporter


def changed(tensors, how):
    if how == "no head":
        return {name: each for name, each in tensors.items() if name != "lm_head.weight"}
    if how == "no layer":
        return {name: each for name, each in tensors.items() if ".layers.1." not in name}
    if how == "no norm":
        return {name: each for name, each in tensors.items() if name != "model.norm.weight"}
    return {f"wrapped.{name}": each for name, each in tensors.items()}


@pytest.fixture
def broken(bench, tiny_base, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_base, folder)
    bench.base = folder
    return folder


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("no head", "lm_head.weight"),
        ("no layer", "model.layers.1.input_layernorm.weight"),
        ("no norm", "model.norm.weight"),
        ("every name prefixed", "lm_head.weight"),
    ],
)
def test_a_missing_weight_is_named(bench, broken, how, name):
    file = broken / "model.safetensors"
    save_file(changed(load_file(file), how), file, metadata={"format": "pt"})

    with pytest.raises(BadModel) as caught:
        load_base(bench.plan(), "cpu")

    report = caught.value.report
    assert (report.class_, report.code, report.retryable) == ("user", "model_invalid", False)
    assert f"lack the weight {name!r}" in report.message
    assert name in report.evidence
    assert ("wrapped." in report.hint) is (how == "every name prefixed")


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3", "flex_attention"])
def test_another_attention_falls_back_to_sdpa(bench, broken, name):
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"attn_implementation": name}))
    stream = io.BytesIO()

    model = load_base(bench.plan(), "cpu")
    prepare.warn_of_attention(bench.plan(), Reporter(stream))

    assert model.config._attn_implementation == "sdpa"
    (warning,) = map(json.loads, stream.getvalue().splitlines())
    assert warning["data"]["code"] == "attention_replaced"
    assert name in warning["message"]


@pytest.mark.parametrize("name", [None, "eager", "sdpa"])
def test_an_attention_that_is_used_is_not_warned_of(bench, broken, name):
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"attn_implementation": name}))
    stream = io.BytesIO()

    prepare.warn_of_attention(bench.plan(), Reporter(stream))

    assert stream.getvalue() == b""
    assert load_base(bench.plan(), "cpu").config._attn_implementation == (name or "sdpa")


def test_a_tied_head_is_not_missing(bench, broken):
    file = broken / "model.safetensors"
    save_file(changed(load_file(file), "no head"), file, metadata={"format": "pt"})
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))

    model = load_base(bench.plan(), "cpu")

    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_weights_of_another_shape_are_refused(bench, broken):
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"intermediate_size": 32}))

    with pytest.raises(BadModel) as caught:
        load_base(bench.plan(), "cpu")

    report = caught.value.report
    assert "'model.layers.0.mlp.down_proj.weight' has another shape" in report.message
    assert report.evidence == "[32, 64] in the files, [32, 32] expected"
