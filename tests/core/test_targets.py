"""Layers that can carry an adapter, by name and by architecture."""

from typing import Any

import pytest

from app.core.jobs import targets
from app.core.jobs.failures import BadTarget

LINEAR = ["h.0.attn.c_attn", "h.0.mlp.c_proj", "lm_head"]


@pytest.mark.parametrize("modules", ["all-linear", ["c_attn"], ["c_proj", "attn.c_attn"]])
def test_names_of_linear_layers_are_accepted(modules: Any) -> None:
    targets.check(modules, LINEAR, "gpt2")


@pytest.mark.parametrize("modules", [["q_proj"], ["c_attn", "lm_head"], ["attn"], ["_attn"]])
def test_other_names_are_refused_with_those_there_are(modules: list[str]) -> None:
    with pytest.raises(BadTarget) as caught:
        targets.check(modules, LINEAR, "gpt2")

    assert "c_attn, c_proj" in caught.value.report.hint
    assert caught.value.report.evidence


@pytest.mark.parametrize(
    ("model_type", "modules", "patch"),
    [
        ("mamba", "all-linear", ["in_proj", "x_proj"]),
        ("mamba", ["in_proj", "dt_proj"], ["in_proj"]),
        ("falcon_mamba", ["mixer.out_proj"], ["in_proj", "x_proj"]),
        ("mamba2", "all-linear", ["in_proj"]),
        ("nemotron_h", ["q_proj", "conv1d"], ["q_proj"]),
    ],
)
def test_a_state_space_block_reads_some_weights_directly(
    model_type: str, modules: Any, patch: list[str]
) -> None:
    with pytest.raises(BadTarget) as caught:
        targets.check_type(modules, model_type)

    report = caught.value.report
    assert (report.class_, report.retryable) == ("user", False)
    assert report.suggested_patch == {"lora": {"target_modules": patch}}
    targets.check_type(patch, model_type)


@pytest.mark.parametrize("model_type", ["llama", "opt", "", None])
def test_other_architectures_have_no_such_layers(model_type: str | None) -> None:
    targets.check_type("all-linear", model_type)
    targets.check_type(["out_proj"], model_type)
