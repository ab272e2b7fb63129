"""A base whose files lack weights is refused: transformers would train on invented ones."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from worker.training.failures import BadModel
from worker.training.model import load_base


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
