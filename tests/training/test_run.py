"""A complete run as a separate process: the files it leaves and the reports it sends."""

import csv
import hashlib
import io
import json
import subprocess
import sys

import pytest
import torch
import yaml

from tests.training.bench import PUBLIC_ID, REPOSITORY, start_trainer, sum_rows

NAMED = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "manifest.json",
    "metrics.csv",
    "prompt_template.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
    "training_args.json",
}


def test_it_succeeds_through_every_phase_and_ends_with_its_artifact(succeeded):
    assert succeeded.status == 0
    phases = [each["phase"] for each in succeeded.of("phase")]
    assert phases[:3] == ["starting", "preparing", "training"]
    assert phases[-1] == "finalizing"
    assert "evaluating" in phases
    assert succeeded.reports[-1]["type"] == "artifact"
    assert succeeded.of("error") == []


def test_the_artifact_is_its_named_files_and_no_others(succeeded):
    folder = succeeded.run_dir / "artifact"
    assert {each.name for each in folder.iterdir()} == NAMED
    assert not (succeeded.run_dir / "artifact.partial").exists()


def test_every_file_has_the_hash_and_size_that_manifest_and_report_give(succeeded):
    folder = succeeded.run_dir / "artifact"
    manifest = json.loads((folder / "manifest.json").read_text())
    (report,) = succeeded.of("artifact")

    assert {each["path"] for each in report["files"]} == NAMED
    assert {each["path"] for each in manifest["files"]} == NAMED - {"manifest.json"}
    for each in [*report["files"], *manifest["files"]]:
        content = (folder / each["path"]).read_bytes()
        assert each["bytes"] == len(content)
        assert each["sha256"] == hashlib.sha256(content).hexdigest()


def test_the_manifest_tells_where_an_adapter_comes_from(succeeded):
    manifest = json.loads((succeeded.run_dir / "artifact" / "manifest.json").read_text())

    assert manifest["job_id"].startswith("ftjob-")
    declared = {"hub_id": None, "hub_revision": None}
    assert manifest["base"] == {"id": PUBLIC_ID, "revision": None, **declared}
    dataset = {
        "dataset": "ds",
        "sha256": "0" * 64,
        "num_rows": 20,
        "num_invalid": 0,
        "license": None,
    }
    assert manifest["dataset"] == dataset
    assert manifest["spec"]["lora"]["r"] == 16
    assert manifest["environment"]["device"] == "cpu"
    assert {"torch", "transformers", "trl", "peft", "python"} <= manifest["environment"][
        "versions"
    ].keys()


def test_no_file_names_a_path_of_this_machine_and_none_is_a_pickle(succeeded, tiny_base):
    for path in (succeeded.run_dir / "artifact").iterdir():
        content = path.read_bytes()
        for local in (str(tiny_base), str(succeeded.run_dir), str(REPOSITORY), "/tmp/"):
            assert local.encode() not in content, path.name
        assert not content.startswith((b"\x80\x02", b"\x80\x04", b"PK\x03\x04")), path.name


def test_the_adapter_names_its_base_by_its_public_name(succeeded):
    config = json.loads((succeeded.run_dir / "artifact" / "adapter_config.json").read_text())

    assert config["base_model_name_or_path"] == PUBLIC_ID
    assert config["revision"] is None
    assert config["auto_mapping"] is None
    assert config["peft_type"] == "LORA"
    assert config["task_type"] == "CAUSAL_LM"
    assert config["modules_to_save"] is None


def test_the_card_has_metadata_the_hub_can_read(succeeded):
    card = (succeeded.run_dir / "artifact" / "README.md").read_text()
    _, metadata, body = card.split("---\n", 2)

    parsed = yaml.safe_load(metadata)
    assert parsed["base_model"] == PUBLIC_ID
    assert parsed["library_name"] == "peft"
    assert body.lstrip().startswith("# LoRA adapter")


def test_metrics_of_every_step_are_in_reports_in_the_file_and_in_the_table(succeeded):
    reported = succeeded.of("metrics")
    steps = [each["step"] for each in reported]
    assert steps == list(range(1, steps[-1] + 1))
    for each in reported:
        assert {
            "train_loss",
            "learning_rate",
            "grad_norm",
            "epoch",
            "train_mean_token_accuracy",
            "entropy",
            "num_tokens",
            "tokens_per_second",
        } == each["values"].keys()

    lines = (succeeded.run_dir / "metrics.jsonl").read_text().splitlines()
    in_file = [json.loads(line) for line in lines]
    evaluations = succeeded.of("eval")
    assert sorted(map(json.dumps, in_file)) == sorted(map(json.dumps, [*reported, *evaluations]))
    table = csv.DictReader(
        io.StringIO((succeeded.run_dir / "artifact" / "metrics.csv").read_text())
    )
    losses = [float(line["train_loss"]) for line in table]
    assert losses == [each["values"]["train_loss"] for each in reported]
    assert losses[-1] < losses[0]


def test_it_evaluates_each_epoch_on_the_held_out_rows(succeeded):
    evaluations = succeeded.of("eval")
    assert len(evaluations) == 3
    for each in evaluations:
        assert each["values"].keys() == {"valid_loss", "valid_mean_token_accuracy"}


def test_progress_reaches_the_end_and_counts_tokens_that_are_not_padding(succeeded):
    last = succeeded.of("progress")[-1]
    assert last["fraction"] == 1
    assert last["step"] == last["max_steps"]
    assert last["eta_seconds"] == 0
    assert last["tokens_seen"] == succeeded.of("metrics")[-1]["values"]["num_tokens"]
    assert last["tokens_seen"] > succeeded.of("artifact")[-1]["trained_tokens"] > 0


def test_base_and_adapter_answer_each_sample_prompt(succeeded):
    samples = succeeded.of("sample")
    assert [each["prompt"] for each in samples] == ["Say 3", "Say 4"]
    assert all(each["base"] != each["adapter"] for each in samples)


def test_checkpoints_are_reported_when_they_are_committed(succeeded):
    reported = succeeded.of("checkpoint")
    assert len(reported) == 3
    assert reported[-1]["epoch"] == 3
    assert sum(each["best"] for each in reported) >= 1
    for each in reported[-2:]:  # save_total_limit
        assert (
            succeeded.run_dir / "checkpoints" / f"checkpoint-{each['step']}" / "COMMIT.json"
        ).is_file()


def test_what_libraries_print_is_no_report(succeeded):
    log = (succeeded.run_dir / "trainer.log").read_text()
    assert "grad_norm" in log  # the Trainer prints to stdout
    assert all(each["type"] for each in succeeded.reports)


LOAD = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter = sys.argv[1:]
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
ids = AutoTokenizer.from_pretrained(adapter)("Say 3", return_tensors="pt")
with torch.no_grad():
    tuned = model(**ids).logits
    with model.disable_adapter():
        plain = model(**ids).logits
print(float((tuned - plain).abs().max()))
"""


def test_the_adapter_loads_unedited_in_a_fresh_process(succeeded, tiny_base):
    folder = succeeded.run_dir / "artifact"
    result = subprocess.run(
        [sys.executable, "-c", LOAD, str(tiny_base), str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(result.stdout.split()[-1]) > 0.1


def test_valid_loss_is_the_mean_over_all_held_out_tokens(succeeded, tiny_base):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from worker.training.data import load_splits
    from worker.training.plan import read_plan

    plan = read_plan(succeeded.run_dir)
    splits = load_splits(plan, AutoTokenizer.from_pretrained(tiny_base))
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    model = PeftModel.from_pretrained(base, succeeded.run_dir / "artifact").eval()
    total, tokens = 0.0, 0
    for each in splits.held_out:
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([each.input_ids])).logits[0, :-1]
        labels = torch.tensor(each.labels[1:])
        total += torch.nn.functional.cross_entropy(scores, labels, reduction="sum").item()
        tokens += each.num_trained

    last = succeeded.of("eval")[-1]["values"]
    assert last["valid_loss"] == pytest.approx(total / tokens, rel=1e-5)


def test_reports_go_to_the_named_descriptor_and_a_run_needs_no_terminal(shared_bench):
    import os

    plan = shared_bench.plan(sum_rows(2), training={"max_length": 8})
    run_dir = shared_bench.run_dir(plan)
    reading, writing = os.pipe()
    process = start_trainer(
        run_dir, env={"TUNESMITH_REPORT_FD": str(writing)}, pass_fds=[writing], close_fds=True
    )
    os.close(writing)
    with os.fdopen(reading) as lines:
        reports = [json.loads(line) for line in lines]

    assert process.wait(timeout=60) == 11
    # A slow machine adds signs of life: heartbeats, and how far reading has come.
    said = [each["type"] for each in reports if each["type"] not in ("heartbeat", "progress")]
    assert said == ["phase", "phase", "error"]
    assert reports[-1]["data"]["code"] == "prompt_too_long"
    assert not (run_dir / "reports.jsonl").exists()
