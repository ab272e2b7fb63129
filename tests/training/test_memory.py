"""Estimated and measured peak memory of the trainer; `python -m bench memory` has more cases."""

from dataclasses import replace
from functools import cache

import pytest

from app.core.estimates import disk
from bench.memory import Case, compare

# Bfloat16 is slow on most CPUs: its rows are short. Accumulation repeats what one batch shows.
CASES = [
    Case("packed", "wide", batch=2, length=192),
    Case("checkpointing", "wide", batch=4, length=192, checkpointing=True, optim="adafactor"),
    Case("unpacked", "deep", batch=2, packing=False, dropout=0.0),
    Case("vocabulary, rank 64", "vocab", batch=1, length=192, r=64),
    Case("nf4", "wide", batch=1, quantization="nf4"),
    Case("int8, bf16", "wide", batch=1, length=192, quantization="int8", precision="bf16"),
    Case("bf16", "qwen", batch=1, length=64, precision="bf16"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a case, once per module."""
    models = tmp_path_factory.mktemp("models")
    return cache(lambda case: compare(replace(case, accumulation=1), models))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plan_foretells_the_trainers_peak_within_15_percent(run, case):
    compared = run(case)

    estimated, peak = compared.estimated, compared.measured.peak
    message = f"{vars(estimated)}: {estimated.peak_bytes:,} estimated, {peak:,} measured"
    assert abs(compared.error) <= 0.15, message
    # Libraries alone are half of it: the part that depends on the job must be right by itself.
    runtime = estimated.runtime
    assert estimated.peak_bytes - runtime == pytest.approx(peak - runtime, rel=0.3)


def test_the_plan_foretells_what_a_checkpoint_and_an_adapter_take_on_disk(run):
    compared = run(CASES[3])

    written = compared.measured.of("checkpoint")[-1]["bytes"]
    tokenizer = sum(
        each["bytes"]
        for each in compared.measured.of("artifact")[-1]["files"]
        if each["kind"] == "tokenizer"
    )
    expected = disk.checkpoint_bytes(compared.shape, compared.case.spec()) + tokenizer
    assert expected == pytest.approx(written, rel=0.05)
    assert abs(compared.adapter_error) < 0.01
